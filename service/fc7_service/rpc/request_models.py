"""Which of the server's models a request means."""

from __future__ import annotations

from collections.abc import Sequence

from fc7.errors import FailedPrecondition, InvalidArgument, Reason
from fc7_service.bundle.bundle import find_maker
from fc7_service.bundle.provenance import Provenance
from fc7_service.features.extractor import Extractor


def model_of_provenance(extractor: Extractor, provenance: Provenance, made: str) -> str:
    """Return the model that extracts features of this ``provenance``.

    Parameters
    ----------
    extractor
        Holds the server's models.
    provenance
        Of stored features.
    made
        What was made with it, for the error.

    Returns
    -------
    str
        Name of the model, or NAME@VERSION where an earlier version of its recipes made the features.

    Raises
    ------
    FailedPrecondition
        No model of this server does. The error names the one that did, and those that there are.
    """
    maker = find_maker(extractor.models.bundles, provenance)
    if maker is not None:
        return extractor.models.bundle(maker.name).name  # the call keeps it from now on
    raise FailedPrecondition(
        f"{made} was made with {provenance.model} {provenance.layer} of provenance {provenance.digest[:12]!r}, "
        f"but no model of this server has it ({', '.join(extractor.models.bundles)}). Start the server with that "
        "bundle (fc7 serve --model BUNDLE), or name it in FC7_MODELS for a command without a server",
        name=provenance.model,
        reason=Reason.MODEL_NOT_SERVED,
    )


def models_of_request(extractor: Extractor, model: str, ensemble: Sequence[str]) -> list[str]:
    """Return the models of a request: those of its ensemble, or the one that it names.

    Raises
    ------
    InvalidArgument
        It names both, or the ensemble has fewer than two models, or one of them twice.
    NotFound
        There is no such model.
    """
    if not ensemble:
        return [extractor.models.bundle(model).name]
    if model:
        raise InvalidArgument(f"name an ensemble or a model, not both (got model {model[:64]!r})", name="ensemble")
    names = [extractor.models.bundle(name).name for name in ensemble]
    if len(names) < 2 or len(set(names)) < len(names):
        raise InvalidArgument(
            f"an ensemble needs at least two models, each once (got {', '.join(names[:8])})", name="ensemble"
        )
    return names
