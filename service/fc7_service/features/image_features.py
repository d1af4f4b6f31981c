"""Features of a list of images: each image gets its feature or its own error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.contract.timing import Timing
from fc7.errors import Fc7Error, InvalidArgument
from fc7_service.bundle.provenance import Provenance
from fc7_service.features.ensemble import join
from fc7_service.features.extractor import Extractor
from fc7_service.features.image_work import ImageInput


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """One row per image, in the order given."""

    rows: list[NDArray[np.float32] | Fc7Error]  # a feature (D,), of `extract_views` (V, D), or why there is none
    provenance: Provenance
    timing: Timing


async def extract_images(
    extractor: Extractor,
    images: Sequence[ImageInput | Fc7Error],
    model: str,
    layer: str,
    n_views: int = 1,
    *,
    can_wait: bool = False,
) -> ImageFeatures:
    """Extract one layer of each image, averaged over its views.

    Parameters
    ----------
    extractor
        Runs the networks.
    images
        At least one. An error in the place of an image stays in its place.
    model, layer
        Names. Empty means the default model, and that model's default layer.
    n_views
        Views per image, 1 or 10.
    can_wait
        Whether the call waits for its turn where others are refused because the queue is full. Meant for streams: their
        callers send nothing more in the meantime.

    Raises
    ------
    NotFound
        There is no such model or layer.
    InvalidArgument
        There is no image.
    ResourceExhausted
        Too much work is waiting (the error says when to try again), or the features would fill the memory.
    """
    found = await extract_views(extractor, images, model, layer, n_views, can_wait=can_wait)
    rows = [row if isinstance(row, Fc7Error) else row[0] if n_views == 1 else row.mean(axis=0) for row in found.rows]
    return ImageFeatures(rows, found.provenance.over_views(n_views), found.timing)


async def extract_views(
    extractor: Extractor,
    images: Sequence[ImageInput | Fc7Error],
    model: str,
    layer: str,
    n_views: int,
    *,
    can_wait: bool = False,
) -> ImageFeatures:
    """Extract like ``extract_images``, but keep the views apart; the provenance is that of one view."""
    provenance = extractor.models.bundle(model).provenance(layer)
    if not images:
        raise InvalidArgument("images is empty. Send at least one", name="images")
    rows: list[Any] = list(images)
    readable = [i for i, image in enumerate(rows) if not isinstance(image, Fc7Error)]
    if not readable:
        return ImageFeatures(rows, provenance, Timing())
    extraction = await extractor.extract(
        [rows[i] for i in readable], model=model, layer=provenance.layer, n_views=n_views, can_wait=can_wait
    )
    for i, row in zip(readable, extraction.rows, strict=True):
        rows[i] = row
    return ImageFeatures(rows, provenance, extraction.timing)


def join_networks(parts: Sequence[ImageFeatures]) -> ImageFeatures:
    """Return the features of several networks as one; an image that one of them cannot read has its error."""
    rows: list[NDArray[np.float32] | Fc7Error] = []
    for features in zip(*(part.rows for part in parts), strict=True):
        errors = [feature for feature in features if isinstance(feature, Fc7Error)]
        rows.append(errors[0] if errors else join(features))
    provenance = Provenance.of_ensemble([part.provenance for part in parts])
    return ImageFeatures(rows, provenance, sum((part.timing for part in parts), Timing()))
