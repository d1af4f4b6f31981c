"""From settings to parts: the capabilities of a server, each given what it needs."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from fc7.errors import FailedPrecondition, InvalidArgument
from fc7_service.bundle.folder import open_model, shipped_bundles
from fc7_service.bundle.recipe import Recipe
from fc7_service.collections.registry import Collections
from fc7_service.explain.explainer import Explainer
from fc7_service.explain.prepared_image import ImageInput, PreparedImage
from fc7_service.features.extractor import Extractor
from fc7_service.features.golden_check import try_out
from fc7_service.features.session import open_session
from fc7_service.features.versions import library_versions
from fc7_service.heads.registry import Heads
from fc7_service.heads.shadow import Shadows
from fc7_service.served.changes import ModelChanges
from fc7_service.served.table import ModelTable
from fc7_service.settings import Settings
from fc7_service.telemetry.record import Record


class Capabilities:
    """What a server can do, whoever asks and by whatever wire.

    Parameters
    ----------
    settings
        Checked.
    data
        The data folder, which the caller holds.
    models
        The networks.
    n_collections
        Number of collections that may be open at once.
    record
        Gets the metrics.
    """

    def __init__(self, settings: Settings, data: Path, models: ModelTable, n_collections: int, record: Record) -> None:
        self.models, self.record = models, record
        self.extractor = Extractor(models, device=settings.device, threads=settings.threads, record=record)
        self.changes = ModelChanges(models, partial(try_out, self.extractor))
        self.collections = Collections(
            data / "collections",
            n_collections,
            may_use_gpu=settings.device != "cpu",
            versions=library_versions(),
            recall_queries=settings.recall_queries,
            report_recall=self._record_recall,
        )
        self.heads = Heads(data / "heads", library_versions())
        self.shadows = Shadows(data / "heads", self.heads)
        self.explainer = Explainer(
            models,
            open_session=partial(open_session, device=settings.device, threads=settings.threads, keeps_memory=False),
            prepare_image=_prepare_image,
            folder=data / "explain",
            turn=self.extractor.turn,
        )

    def close(self) -> None:
        """Close everything. No call may be running."""
        self.shadows.close()
        self.heads.close()
        self.explainer.close()
        self.extractor.close()  # in this thread, because a thread cannot be started while the interpreter ends
        self.collections.close()

    def _record_recall(self, n_found: int, n_wanted: int) -> None:
        self.record("fc7_neighbours_found_total", n_found)
        self.record("fc7_neighbours_wanted_total", n_wanted)


def open_models(names: tuple[str, ...]) -> ModelTable:
    """Open the bundles that are named, or all that are shipped.

    Raises
    ------
    FailedPrecondition
        None is named, and none is shipped.
    InvalidArgument
        Two have the same name.
    """
    names = names or tuple(shipped_bundles())
    if not names:
        raise FailedPrecondition("no model: this build ships none, so name a bundle with --model")
    bundles = [open_model(name) for name in names]
    if len({bundle.name for bundle in bundles}) < len(bundles):
        raise InvalidArgument("two of the models have the same name: name each once", name="models")
    return ModelTable(bundles)


def _prepare_image(image: ImageInput, recipe: Recipe) -> PreparedImage:
    from fc7_service.features.preprocess import preprocess_with_crop  # brings Pillow

    return PreparedImage(*preprocess_with_crop(image, recipe))
