"""Models that a caller asks for by name or bundle folder, and whether a running server serves them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fc7.errors import DataLoss, FailedPrecondition, NotFound, Reason

if TYPE_CHECKING:
    from fc7.results import Model

_MANIFEST, _GRAPH = "manifest.json", "model.onnx"
_INT8_SUFFIX, _INT8_GRAPH = ".int8", "model.int8.onnx"


@dataclass(frozen=True, slots=True)
class RequestedModel:
    """A model that a caller asks for."""

    given: str  # name of a model, or path of a bundle
    name: str  # of the model
    graph_sha256: str = ""  # of the bundle; empty if a name was given


def read_requested_model(given: str) -> RequestedModel:
    """Return the model that a name or a bundle folder stands for.

    Raises
    ------
    NotFound
        The path is not a bundle.
    DataLoss
        The bundle's manifest is damaged.
    """
    folder, suffix = Path(given), ""
    if not _is_bundle(folder) and given.endswith(_INT8_SUFFIX):
        folder, suffix = Path(given.removesuffix(_INT8_SUFFIX)), _INT8_SUFFIX
    if not _is_bundle(folder):
        if os.sep in given or (os.altsep and os.altsep in given):
            raise NotFound(f"{given!r} is not a bundle: a bundle is a folder with a {_MANIFEST}", name=given)
        return RequestedModel(given, given)
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        graph = manifest["files"][_INT8_GRAPH if suffix else _GRAPH]["sha256"]
        return RequestedModel(given, f"{manifest['name']}{suffix}", str(graph))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataLoss(
            f"the manifest of bundle {given!r} is damaged: {error!r}", name=given, reason=Reason.BUNDLE_DAMAGED
        ) from error


def check_served(served: Sequence[Model], wanted: Sequence[str], where: str) -> None:
    """Raise an error if a server lacks one of the ``wanted`` models.

    Raises
    ------
    FailedPrecondition
        It does. The text says how to start a server with the model.
    NotFound, DataLoss
        As `read_named`.
    """
    graphs = {model.name: model.graph_sha256 for model in served}
    for named in (read_requested_model(given) for given in wanted if given not in graphs):
        if named.name not in graphs or (named.graph_sha256 and graphs[named.name] != named.graph_sha256):
            what = f"the bundle {named.given!r}" if named.graph_sha256 else f"model {named.given!r}"
            raise FailedPrecondition(
                f"{where} does not serve {what}; it serves {', '.join(graphs)}. "
                f"Start the server with: fc7 serve --model {named.given}",
                name=named.name,
                reason=Reason.MODEL_NOT_SERVED,
            )


def check_default(served: Sequence[Model], models: Sequence[str], where: str) -> None:
    """Raise an error unless a server serves all of ``models`` and the first of them is its default.

    Raises
    ------
    FailedPrecondition, NotFound, DataLoss
        See `check_served`.
    """
    check_served(served, models, where)
    if models and served[0].name not in (models[0], read_requested_model(models[0]).name):
        raise FailedPrecondition(
            f"{where} uses model {served[0].name!r} by default, not {models[0]!r}, the first of your models. "
            f"Name it with --model, or start the server with: fc7 serve --model {models[0]}",
            name=models[0],
            reason=Reason.MODEL_NOT_SERVED,
        )


def _is_bundle(folder: Path) -> bool:
    return (folder / _MANIFEST).is_file()
