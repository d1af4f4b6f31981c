"""Load, reload and unload networks while the server runs: one change at a time, and each takes effect at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from fc7.errors import FailedPrecondition, NotFound, Reason
from fc7_service.bundle.bundle import Bundle
from fc7_service.bundle.folder import open_bundle, open_model
from fc7_service.served.served_model import ServedModel
from fc7_service.served.table import ModelTable

_RELEASE_S = 10.0  # for calls to leave a network; one that lasts longer keeps it in memory until it ends

TryOut = Callable[[ServedModel], Awaitable[None]]


class ModelChanges:
    """Changes which networks a server has.

    Parameters
    ----------
    table
        Of the server.
    try_out
        Loads a network, compares it with its golden values, and warms it up. What it raises ends the change, and the
        table stays as it was.
    """

    def __init__(self, table: ModelTable, try_out: TryOut) -> None:
        self._table, self._try_out = table, try_out
        self._turn = asyncio.Lock()

    async def load(self, bundle: str, *, is_default: bool) -> ServedModel:
        """Serve one more network; if it is served already, it is only made the default where that is asked for.

        Parameters
        ----------
        bundle
            Name of a shipped bundle, or path of any other one. To make a network the default, the name that it is
            served by will do.
        is_default
            Whether requests that name no network get this one, and those that name it without a version.

        Raises
        ------
        NotFound, DataLoss, FailedPrecondition, InvalidArgument
            The bundle cannot be opened, or its network cannot run or does not give its golden values.
        """
        async with self._turn:
            model = self._table.models.get(bundle) if is_default else None
            if model is None:
                opened = await asyncio.to_thread(_open, bundle)
                model = self._table.find(lambda one: _is_same(one.bundle, opened))
            if model is None:
                model = await self._tried_out(opened)
                self._table.add(model, is_default=is_default)
            elif is_default:
                self._table.make_default(model)
            return model

    async def reload(self, name: str, bundle: str, *, keeps_old: bool) -> tuple[ServedModel, ServedModel]:
        """Replace a network by what its bundle, or another one of the same name, holds now.

        Parameters
        ----------
        name
            Of the network.
        bundle
            Name or path of the bundle. Empty for the one that the network came from.
        keeps_old
            Whether the old version stays in the table, as NAME:VERSION.

        Returns
        -------
        tuple
            The new network and the old one.

        Raises
        ------
        NotFound, DataLoss, FailedPrecondition, InvalidArgument
            There is no such network; or as `load`. The old network goes on serving.
        """
        async with self._turn:
            old = self._table.look_up(name)
            opened = await asyncio.to_thread(_open, bundle) if bundle else await asyncio.to_thread(_again, old.bundle)
            if opened.name != old.bundle.name:
                raise FailedPrecondition(
                    f"bundle {bundle!r} holds model {opened.name!r}, not {old.bundle.name!r}. Load it beside the other "
                    f"one with: fc7 model load {bundle}",
                    name=opened.name,
                )
            new = await self._tried_out(opened)
            self._table.replace(old, new, keeps_old=keeps_old)
        return new, old

    async def unload(self, name: str) -> ServedModel:
        """Serve a network no longer; return it.

        Raises
        ------
        NotFound
            There is no such network.
        FailedPrecondition
            It is the default one.
        """
        async with self._turn:
            model = self._table.look_up(name)
            if model is self._table.default:
                raise FailedPrecondition(
                    f"model {model.bundle.name!r} is the default model. Make another one the default first: "
                    "fc7 model load BUNDLE --default",
                    name=model.bundle.name,
                    reason=Reason.MODEL_IS_DEFAULT,
                )
            self._table.remove(model)
        return model

    async def _tried_out(self, bundle: Bundle) -> ServedModel:
        """Return a network that runs and gives its golden values."""
        model = self._table.make(bundle)
        model.acquire()
        try:
            await self._try_out(model)
        except BaseException:
            model.retire()
            raise
        finally:
            model.release()
        return model


async def wait_until_released(model: ServedModel) -> int:
    """Wait a moment for the calls of a network that is served no longer; return how many still use it."""
    await asyncio.to_thread(model.is_released.wait, _RELEASE_S)
    return model.n_users


def _open(name: str) -> Bundle:
    try:
        bundle = open_model(name)
    except OSError as error:  # a name that no path can have, or a folder that may not be read
        raise NotFound(
            f"bundle {name[:64]!r} cannot be opened: {error.strerror}", name=name[:64], reason=Reason.MODEL_NOT_FOUND
        ) from error
    bundle.check_files()
    return bundle


def _again(bundle: Bundle) -> Bundle:
    """Open a bundle anew, in the precision that it had."""
    opened = open_bundle(bundle.path)
    opened = opened if bundle.precision == "fp32" else opened.in_int8()
    opened.check_files()
    return opened


def _is_same(one: Bundle, other: Bundle) -> bool:
    return replace(one, path=other.path) == other
