"""The training set: pictures of one or several folders, decoded, with numbered classes."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fc7.errors import InvalidArgument
from fc7_models.data.dataset import Dataset, Pixels, decode_file, load_pixels, name_in_folder, read_dataset
from fc7_models.data.near_duplicates import BETWEEN_FOLDERS, METHOD, WITHIN_FOLDER, Thresholds, find_near_duplicates
from fc7_service.bundle.recipe import Recipe
from fc7_service.features.preprocess import decode_upright

_MEASURED = 100  # pictures of a folder from which its usual size is taken


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Pictures to train on and to validate with.

    Each output of the network is a class of a head. There is one head for all folders, or one per folder. The
    validation pictures come from the first folder, whose head comes first.
    """

    parts: Sequence[NDArray[np.uint8]]  # one array per folder, (N_i, px_i, px_i, 3)
    rows: NDArray[np.int64]  # (N,) the pictures to train on, as numbers that run through all parts
    labels: Tensor  # (N,) int64, number of the output
    heads: list[list[str]]  # the class ids of each head, in the order of the outputs
    names: dict[str, str]  # class id -> readable name, if the data has one
    held_out: NDArray[np.uint8]  # (M, px, px, 3)
    held_out_labels: Tensor  # (M,) int64
    near_duplicates: list[str]  # left out because a validation picture is nearly the same; see ``name_in_folder``
    data: str  # names of the folders
    digest: str  # of all pictures and of which are left out

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_outputs(self) -> int:
        """Number of classes of all heads together."""
        return sum(map(len, self.heads))

    @property
    def spans(self) -> list[tuple[int, int]]:
        """First output of each head, and the output after its last."""
        ends = np.cumsum([len(head) for head in self.heads]).tolist()
        return list(zip([0, *ends], ends, strict=False))

    def gather(self, rows: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """Return pictures to train on, by folder: their places in ``rows``, and the pictures, uint8 (n, px, px, 3)."""
        wanted, first, found = self.rows[rows], 0, []
        for part in self.parts:
            here = np.flatnonzero((first <= wanted) & (wanted < first + len(part)))
            if len(here):
                found.append((here, part[wanted[here] - first]))
            first += len(part)
        return found


def read_training_set(
    folders: Sequence[Path], recipe: Recipe, cache: Path, *, has_heads: bool = False, source_px: int | None = None
) -> TrainingSet:
    """Decode the pictures of ``folders``. Leave out near-duplicates of validation pictures.

    In the first folder, where different pictures often look alike, only near-exact copies are left out.

    Parameters
    ----------
    folders
        See ``read_dataset``. Classes of the same name are one class, unless each folder has its own head.
    recipe
        The recipe of the network.
    cache
        Folder for the decoded pictures.
    has_heads
        Give each folder its own head, with its own classes.
    source_px
        Keep training pictures at their own size, up to this one. None resizes them as the recipe says.

    Raises
    ------
    NotFound, InvalidArgument, ImageDecodeError, FailedPrecondition
        The pictures cannot be trained on. The message names the picture or the class.
    """
    sets = [read_dataset(folder, "train") for folder in folders]
    held_out = read_dataset(folders[0], "val")
    heads = [one.classes for one in sets] if has_heads else [sorted({c for one in sets for c in one.classes})]
    _check_classes(held_out, sets[0].classes)
    parts = [load_pixels(one, _own_size(one, recipe, source_px), cache) for one in sets]
    validation = load_pixels(held_out, recipe, cache)
    numbers = [_numbers(heads, i if has_heads else 0, one.labels) for i, one in enumerate(sets)]
    labels = torch.tensor([number for part in numbers for number in part])
    near = np.concatenate(
        [_find_near(part, validation, cache, BETWEEN_FOLDERS if i else WITHIN_FOLDER) for i, part in enumerate(parts)]
    )
    rows = np.flatnonzero(~near)
    files = [(folder, path) for folder, one in zip(folders, sets, strict=True) for path in one.paths]
    _check_classes_left(labels[torch.from_numpy(rows)], [c for head in heads for c in head])
    return TrainingSet(
        parts=parts,
        rows=rows,
        labels=labels[torch.from_numpy(rows)],
        heads=heads,
        names={c: name for one in reversed(sets) for c, name in one.names.items() if c in heads[0]},
        held_out=validation,
        held_out_labels=torch.tensor(_numbers(heads, 0, held_out.labels)),
        near_duplicates=[name_in_folder(*files[row]) for row in np.flatnonzero(near)],
        data=" + ".join(folder.resolve().name for folder in folders),
        digest=hashlib.sha256("-".join(map(_key, [*parts, validation])).encode() + near.tobytes()).hexdigest(),
    )


def _find_near(pixels: Pixels, others: Pixels, cache: Path, thresholds: Thresholds) -> NDArray[np.bool_]:
    """Return the mask of ``find_near_duplicates``, from ``cache`` if it was computed before."""
    path = cache / f"{_key(pixels)}-{_key(others)}-{METHOD}-{thresholds.coarse}-{thresholds.fine}.near"
    if not path.exists() or path.stat().st_size != len(pixels):
        part = path.with_suffix(".part")
        part.write_bytes(find_near_duplicates(pixels, others, thresholds).tobytes())
        os.replace(part, path)
    return np.frombuffer(path.read_bytes(), np.uint8) != 0


def _own_size(pictures: Dataset, recipe: Recipe, most_px: int | None) -> Recipe:
    """Return the recipe with the median size of a sample of the pictures, but at most ``most_px``."""
    if most_px is None:
        return recipe
    some = pictures.paths[:: math.ceil(len(pictures.paths) / _MEASURED)]
    large = replace(recipe, resize_px=most_px, crop_px=most_px)
    sides = [decode_file(path, lambda data: min(decode_upright(data, large).size)) for path in some]
    px = min(most_px, int(np.median(sides)))
    return replace(recipe, resize_px=px, crop_px=px)


def _key(pixels: Pixels) -> str:
    return Path(str(pixels.filename)).stem


def _numbers(heads: list[list[str]], head: int, labels: Sequence[str]) -> list[int]:
    first = sum(map(len, heads[:head]))
    index = {name: first + i for i, name in enumerate(heads[head])}
    return [index[label] for label in labels]


def _check_classes(held_out: Dataset, classes: list[str]) -> None:
    unknown = sorted(set(held_out.labels) - set(classes))
    if unknown:
        raise InvalidArgument(
            f"class {unknown[0]!r} has validation pictures but no training pictures ({len(unknown)} such classes). "
            "Add training pictures, or remove the class",
            name=unknown[0],
        )


def _check_classes_left(labels: Tensor, classes: list[str]) -> None:
    lost = sorted({*range(len(classes))} - set(labels.tolist()))
    if lost:
        name = classes[lost[0]]
        raise InvalidArgument(
            f"every training picture of class {name!r} is nearly the same as a validation picture "
            f"({len(lost)} such classes). Add other pictures",
            name=name,
        )
