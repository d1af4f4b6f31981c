"""Calls about the models that a server serves."""

from __future__ import annotations

import os

from fc7._operations import model
from fc7._session import Session
from fc7.results import Golden, Model, ReloadedModel


class ModelCalls:
    """Calls about the models that a server serves."""

    _session: Session

    def models(self, *, timeout_s: float | None = None) -> list[Model]:
        """Return the server's models, the default one first. Their classes and cards are left out; see `model`."""
        return self._session.run(model.list_models(), timeout_s)

    def model(self, name: str = "", *, timeout_s: float | None = None) -> Model:
        """Return one model with its classes and its card.

        Parameters
        ----------
        name
            Name of the model. Defaults to the server's default model.

        Raises
        ------
        NotFound
            There is no such model.
        """
        return self._session.run(model.get_model(name), timeout_s)

    def golden(self, name: str = "", *, timeout_s: float | None = None) -> Golden:
        """Return a model's reference pictures, and their features as computed where the model was exported.

        Parameters
        ----------
        name
            Name of the model. Defaults to the server's default model.

        Raises
        ------
        NotFound
            There is no such model.
        """
        return self._session.run(model.get_golden(name), timeout_s)

    def load_model(
        self, bundle: str | os.PathLike[str], *, default: bool = False, timeout_s: float | None = None
    ) -> Model:
        """Have the server serve one more model, until it ends.

        The server first checks the golden vectors of the model. A model that is served already is not loaded again.

        Parameters
        ----------
        bundle
            Name of a shipped bundle, or path of a bundle on the server's machine. A relative `Path` is made absolute;
            text is sent as it is.
        default
            Make the model the default one, and the one that its plain name means. ``bundle`` may then also be the name
            of a served model. Otherwise a model whose name is taken is served as NAME:VERSION.

        Raises
        ------
        NotFound
            There is no such bundle on the server's machine.
        DataLoss
            The bundle is damaged, or its network does not compute its golden values.

        Examples
        --------
        >>> client.load_model("zfnet-64").version
        1
        """
        return self._session.run(model.load(bundle, default), timeout_s)

    def reload_model(
        self,
        name: str = "",
        bundle: str | os.PathLike[str] = "",
        *,
        keep_old: bool = False,
        timeout_s: float | None = None,
    ) -> ReloadedModel:
        """Have the server replace a model by a newer version of it, while calls go on.

        The server first checks the golden vectors of the new version. If they do not match, the old one stays. Calls
        that began before finish with the old version.

        Parameters
        ----------
        name
            Name of the model. Defaults to the server's default model.
        bundle
            Bundle with the new version, as in `load_model`. Defaults to the one that the model came from.
        keep_old
            Keep serving the old version, as NAME:VERSION.

        Raises
        ------
        NotFound
            There is no such model or bundle.
        FailedPrecondition
            The bundle holds a model with another name.
        DataLoss
            The bundle is damaged, or its network does not compute its golden values.
        """
        return self._session.run(model.reload(name, bundle, keep_old), timeout_s)

    def unload_model(self, name: str, *, timeout_s: float | None = None) -> int:
        """Have the server stop serving a model and give its memory back.

        Parameters
        ----------
        name
            NAME or NAME:VERSION. If the server has other versions, the plain name then means the next one.

        Returns
        -------
        int
            Number of calls that still use the model. Its memory is given back when they have ended.

        Raises
        ------
        NotFound
            There is no such model.
        FailedPrecondition
            It is the default model.
        """
        return self._session.run(model.unload(name), timeout_s)
