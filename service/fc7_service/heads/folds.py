"""Which rows are held out: a fifth of every class, with all copies of one image on one side."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fc7.errors import InvalidArgument, Reason
from fc7_service.heads.limits import check_label

N_FOLDS = 5
HELD_OUT_FOLD = 0  # 20 % of the rows
NO_FOLD = -1  # of rows that are always trained on
_N_NAMED = 5  # classes that one message lists


def assign_folds(
    labels: Sequence[str], groups: Sequence[str], earlier: Mapping[str, int] | None = None
) -> NDArray[np.int8]:
    """Assign every row to a fold; the order of the rows does not matter.

    Each class is spread evenly over the folds, and copies of an image stay together. A class with fewer images than
    folds has one image in the held-out fold and the others in different folds, so that it can be both trained and
    tested. An image that carries two labels is trained on only: it would not be a fair test.

    Parameters
    ----------
    labels
        Class of each row.
    groups
        Content hash of each row; rows of one group are copies of one image.
    earlier
        Folds that groups had before, which they keep where every class can still be trained and tested. So the
        figures of a head that is trained again are about the same images as before. Defaults to none.

    Returns
    -------
    NDArray[np.int8]
        (N,): ``HELD_OUT_FOLD`` to ``N_FOLDS - 1``, or ``NO_FOLD``.

    Raises
    ------
    InvalidArgument
        There are fewer than two classes, or a class has fewer than two different images of its own.
    """
    check_classes(labels)
    sizes = Counter(groups)
    classes_of_group: defaultdict[str, set[str]] = defaultdict(set)
    for label, group in zip(labels, groups, strict=True):
        classes_of_group[group].add(label)
    groups_of_class: dict[str, list[str]] = {label: [] for label in sorted(set(labels))}
    for group, classes in classes_of_group.items():
        if len(classes) == 1:
            groups_of_class[min(classes)].append(group)
    _check_images(groups_of_class)

    fold_of_group = dict.fromkeys(classes_of_group, NO_FOLD)
    for turn, own_groups in enumerate(groups_of_class.values()):
        own_groups.sort(key=lambda group: (-sizes[group], hashlib.sha256(group.encode()).digest()))
        before = [earlier.get(group) if earlier else None for group in own_groups]
        folds = _spread([sizes[group] for group in own_groups], before, turn)
        fold_of_group.update(zip(own_groups, folds, strict=True))
    return np.array([fold_of_group[group] for group in groups], np.int8)


def _spread(sizes: Sequence[int], before: Sequence[int | None], turn: int) -> list[int]:
    """Return a fold for each group of one class: that of before, or the emptiest.

    The groups come largest first, with their sizes and their folds of before.
    """
    n_groups, new = len(sizes), [i for i, fold in enumerate(before) if fold is None]
    if n_groups < N_FOLDS and len(new) == n_groups:
        return [*range(1, n_groups), HELD_OUT_FOLD]  # the smallest group is held out
    rows_in_fold = {(turn + i) % N_FOLDS: 0 for i in range(N_FOLDS)}  # in each class, ties go to another fold
    for size, fold in zip(sizes, before, strict=True):
        if fold is not None:
            rows_in_fold[fold] += size
    folds = [HELD_OUT_FOLD if fold is None else fold for fold in before]
    for i in new:
        folds[i] = min(rows_in_fold, key=lambda fold: rows_in_fold[fold])
        rows_in_fold[folds[i]] += sizes[i]
    if HELD_OUT_FOLD not in folds:
        folds[new[-1] if new else -1] = HELD_OUT_FOLD
    elif set(folds) == {HELD_OUT_FOLD}:
        folds[new[0] if new else 0] = HELD_OUT_FOLD + 1
    return folds


def check_classes(labels: Sequence[str]) -> None:
    """Refuse labels of fewer than two classes, and one that cannot name a class.

    Raises
    ------
    InvalidArgument
        The rule is named.
    """
    classes = set(labels)
    if len(classes) < 2:
        what = f"all {len(labels)} rows are of class {min(classes)!r}" if classes else "there is no labelled row"
        raise InvalidArgument(
            f"a head needs at least 2 classes, but {what}", name="labels", reason=Reason.TOO_FEW_IMAGES
        )
    for label in classes:
        check_label(label)


def _check_images(groups_of_class: dict[str, list[str]]) -> None:
    small = [label for label, groups in groups_of_class.items() if len(groups) < 2]
    if small:
        names = ", ".join(map(repr, small[:_N_NAMED])) + (", ..." if len(small) > _N_NAMED else "")
        raise InvalidArgument(
            f"every class needs at least 2 different images of its own. These have fewer: {names} "
            f"({len(small)} of {len(groups_of_class)} classes). Copies, and images that also carry another label, do "
            "not count. Add images, or leave these classes out",
            name=small[0],
            reason=Reason.TOO_FEW_IMAGES,
        )
