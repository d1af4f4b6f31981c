"""The pictures of a training: one or several folders, decoded, their classes numbered."""

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

_MEASURED = 100  # pictures of a folder that tell its size


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Pictures to train on and to validate with.

    An output of the network is a class of a head; with one class list there is one head. The
    validation pictures are those of the first folder, whose head comes first.
    """

    parts: Sequence[NDArray[np.uint8]]  # a folder each, (N_i, px_i, px_i, 3)
    rows: NDArray[np.int64]  # (N,) the pictures to train on, counted through all parts
    labels: Tensor  # (N,) int64, outputs
    heads: list[list[str]]  # the class ids of each head, in the order of the outputs
    names: dict[str, str]  # class id -> readable name, where the data has one
    held_out: NDArray[np.uint8]  # (M, px, px, 3)
    held_out_labels: Tensor  # (M,) int64
    near_duplicates: list[str]  # see ``name_in_folder``: left out, since a validation picture is nearly the same
    data: str  # names of the folders
    digest: str  # of all pictures and which of them are left out

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_outputs(self) -> int:
        """The classes of all heads."""
        return sum(map(len, self.heads))

    @property
    def spans(self) -> list[tuple[int, int]]:
        """First output and end of each head."""
        ends = np.cumsum([len(head) for head in self.heads]).tolist()
        return list(zip([0, *ends], ends, strict=False))

    def gather(self, rows: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """Return pictures to train on: of each folder their places in ``rows``, and uint8 (n, px, px, 3)."""
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
    """Decode the pictures of ``folders``, and leave out those that a validation picture is nearly the same as.

    In the first folder, whose pictures may well look alike, these are near-exact copies alone.

    Parameters
    ----------
    folders
        See ``read_dataset``. Classes of one name are one class, unless each folder has its own head.
    recipe
        Of the network.
    cache
        Folder for the decoded pictures.
    has_heads
        Number the classes of each folder for themselves.
    source_px
        Keep the pictures to train on at their own size, up to this one; None keeps them as the recipe resizes them.

    Raises
    ------
    NotFound, InvalidArgument, ImageDecodeError, FailedPrecondition
        The pictures cannot be trained on; a damaged one, or a class, is named.
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
        [_near(part, validation, cache, BETWEEN_FOLDERS if i else WITHIN_FOLDER) for i, part in enumerate(parts)]
    )
    rows = np.flatnonzero(~near)
    files = [(folder, path) for folder, one in zip(folders, sets, strict=True) for path in one.paths]
    _check_left(labels[torch.from_numpy(rows)], [c for head in heads for c in head])
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


def _near(pixels: Pixels, others: Pixels, cache: Path, rule: Thresholds) -> NDArray[np.bool_]:
    """Return the mask of ``find_near_duplicates``, from ``cache`` if it was computed before."""
    path = cache / f"{_key(pixels)}-{_key(others)}-{METHOD}-{rule.coarse}-{rule.fine}.near"
    if not path.exists() or path.stat().st_size != len(pixels):
        part = path.with_suffix(".part")
        part.write_bytes(find_near_duplicates(pixels, others, rule).tobytes())
        os.replace(part, path)
    return np.frombuffer(path.read_bytes(), np.uint8) != 0


def _own_size(pictures: Dataset, recipe: Recipe, most_px: int | None) -> Recipe:
    """Return the recipe with the size that most of some pictures have, but no more than ``most_px``."""
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
            f"class {unknown[0]!r} is among the validation pictures but not among those to train on "
            f"({len(unknown)} such classes): give it training pictures, or take it away",
            name=unknown[0],
        )


def _check_left(labels: Tensor, classes: list[str]) -> None:
    lost = sorted({*range(len(classes))} - set(labels.tolist()))
    if lost:
        name = classes[lost[0]]
        raise InvalidArgument(
            f"every training picture of class {name!r} is nearly the same as a validation picture "
            f"({len(lost)} such classes): give it others",
            name=name,
        )
