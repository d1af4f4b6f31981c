"""The table of networks: which ones a server has, in which versions, and what a name means."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from fc7_service.bundle.bundle import VERSION_MARK, Bundle, find_bundle
from fc7_service.served.call_models import CALL_MODELS
from fc7_service.served.served_model import ServedModel


class ModelTable:
    """The networks of a server. Safe for several threads.

    The order says what names mean. The first network is the default one. Of several versions of a network, the plain
    name means the first; the others are called NAME:VERSION. A change replaces the order as a whole.

    Parameters
    ----------
    bundles
        The default one first. Each is version 1 of its name.
    """

    def __init__(self, bundles: Iterable[Bundle]) -> None:
        self._lock = threading.Lock()
        self._versions: Counter[str] = Counter()
        self._leaving: list[ServedModel] = []  # retired, perhaps still in use
        self.names: set[str] = set()  # of all networks so far; grows
        self._models: tuple[ServedModel, ...] = ()
        for bundle in bundles:
            self.add(self.make(bundle))

    def make(self, bundle: Bundle) -> ServedModel:
        """Return the next version of a network, which is not in the table yet."""
        with self._lock:
            self._versions[bundle.name] += 1
            self.names.add(bundle.name)
            return ServedModel(bundle, self._versions[bundle.name])

    @property
    def models(self) -> dict[str, ServedModel]:
        """The networks by the names that they have now, the default one first."""
        return _by_name(self._models, {})

    @property
    def keys(self) -> list[str]:
        """NAME:VERSION of each network."""
        return [model.key for model in self._models]

    @property
    def bundles(self) -> dict[str, Bundle]:
        """Their bundles. In a call, names that it has used mean what they meant then."""
        kept = CALL_MODELS.get()
        names = _by_name(self._models, kept.by_name if kept else {})
        return {name: _renamed(model.bundle, name) for name, model in names.items()}

    def bundle(self, model: str) -> Bundle:
        """Return a bundle; names and errors as `choose`."""
        return self.choose(model)[1]

    def choose(self, model: str) -> tuple[ServedModel, Bundle]:
        """Return the network that a name means, and its bundle. The running call then keeps the network.

        Parameters
        ----------
        model
            NAME, NAME:VERSION, or either with "@" and a version of the bundle's recipes; empty for the default one.

        Raises
        ------
        NotFound
            There is no such network; the message lists those that exist.
        """
        kept = CALL_MODELS.get()
        if kept and (known := kept.chosen.get(model)):
            return known
        with self._lock:
            found, bundle = self._look_up(model, kept.by_name if kept else {})
            if kept:
                kept.chosen[model] = kept.chosen[bundle.name] = found, bundle
                kept.keep(bundle.name.partition(VERSION_MARK)[0], found)
                if not model:
                    kept.keep("", found)
        return found, bundle

    def look_up(self, model: str) -> ServedModel:
        """Return the network that a name means now, and keep nothing; names and errors as `choose`."""
        return self._look_up(model, {})[0]

    @property
    def default(self) -> ServedModel:
        """The network for requests that name none."""
        return self._models[0]

    def add(self, model: ServedModel, *, is_default: bool = False) -> None:
        """Serve one more network; as the default one, its name also means this version."""
        with self._lock:
            self._models = (model, *self._models) if is_default else (*self._models, model)

    def make_default(self, model: ServedModel) -> None:
        """Let no name, and the name of a network in the table, mean this version of it."""
        with self._lock:
            self._models = (model, *(one for one in self._models if one is not model))

    def replace(self, old: ServedModel, new: ServedModel, *, keeps_old: bool) -> None:
        """Let the names of ``old`` mean ``new`` from now on. Retire ``old``, or keep it as NAME:VERSION."""
        with self._lock:
            models = [new if one is old else one for one in self._models]
            self._models = (*models, *([old] if keeps_old else []))
        if not keeps_old:
            self._retire(old)

    def remove(self, model: ServedModel) -> None:
        """Serve a network no longer. Its memory is given back once its calls have ended."""
        with self._lock:
            self._models = tuple(one for one in self._models if one is not model)
        self._retire(model)

    def find(self, is_wanted: Callable[[ServedModel], bool]) -> ServedModel | None:
        """Return the first network in the table for which ``is_wanted`` is true."""
        return next(filter(is_wanted, self._models), None)

    def close(self) -> None:
        """Close all networks. No call may be running."""
        with self._lock:
            models, self._models = (*self._models, *self._leaving), ()
        for model in models:
            model.close()

    def _look_up(self, model: str, known: Mapping[str, ServedModel]) -> tuple[ServedModel, Bundle]:
        name, mark, recipes = model.partition(VERSION_MARK)
        names = _by_name(self._models, known)
        if not name:
            name = known.get("", self.default).bundle.name
        elif name not in names:  # the version that the plain name means has its number, too
            name = next((listed for listed, one in names.items() if one.key == name), name)
        bundles = {listed: _renamed(one.bundle, listed) for listed, one in names.items()}
        bundle = find_bundle(bundles, f"{name}{mark}{recipes}")
        return names[name], bundle

    def _retire(self, model: ServedModel) -> None:
        with self._lock:
            self._leaving = [one for one in self._leaving if not one.is_released.is_set()] + [model]
        model.retire()


def _by_name(models: Iterable[ServedModel], known: Mapping[str, ServedModel]) -> dict[str, ServedModel]:
    """Return the networks by name; those of ``known`` keep the name that they have there."""
    by_name = {name: model for name, model in known.items() if name}
    for model in models:
        if model not in by_name.values():
            name = model.bundle.name
            by_name[model.key if name in by_name else name] = model
    return by_name


def _renamed(bundle: Bundle, name: str) -> Bundle:
    return bundle if bundle.name == name else replace(bundle, name=name)
