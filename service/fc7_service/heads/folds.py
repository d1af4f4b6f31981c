"""Which rows are held out: stratified by class, with all copies of one image on one side."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fc7.errors import InvalidArgument, Reason
from fc7_service.heads.limits import check_label

N_FOLDS = 5  # fold 0 is held out: 20 %
NO_FOLD = -1  # rows that are always trained on


def assign_folds(labels: Sequence[str], groups: Sequence[str]) -> NDArray[np.int8]:
    """Give every row a fold; the same rows get the same folds in any order.

    Each class is spread evenly over the folds, copies together; a class of fewer images than
    folds has one in fold 0 and the rest in others, so it can be both tested and trained. An
    image that carries two labels is no fair test: it is trained on only.

    Parameters
    ----------
    labels
        Class of each row.
    groups
        Content hash of each row; rows of one group are copies.

    Returns
    -------
    NDArray[np.int8]
        (N,): 0 to ``N_FOLDS - 1``, or ``NO_FOLD``.

    Raises
    ------
    InvalidArgument
        Fewer than two classes, or a class with fewer than two different images of its own.
    """
    _check_classes(labels)
    sizes = Counter(groups)
    classes_of: defaultdict[str, set[str]] = defaultdict(set)
    for label, group in zip(labels, groups, strict=True):
        classes_of[group].add(label)
    members: dict[str, list[str]] = {label: [] for label in sorted(set(labels))}
    for group, its_classes in classes_of.items():
        if len(its_classes) == 1:
            members[min(its_classes)].append(group)
    _check_members(members)

    fold_of = dict.fromkeys(classes_of, NO_FOLD)
    for turn, mine in enumerate(members.values()):
        mine.sort(key=lambda group: (-sizes[group], hashlib.sha256(group.encode()).digest()))
        fold_of.update(zip(mine, _spread([sizes[group] for group in mine], turn), strict=True))
    return np.array([fold_of[group] for group in groups], np.int8)


def _spread(sizes: list[int], turn: int) -> list[int]:
    """Put groups of these sizes, largest first, each into the emptiest fold."""
    n = len(sizes)
    if n < N_FOLDS:  # the smallest is held out
        return [*range(1, n), 0]
    load = {(turn + i) % N_FOLDS: 0 for i in range(N_FOLDS)}  # ties go to another fold in each class
    chosen = []
    for size in sizes:
        fold = min(load, key=lambda i: load[i])
        load[fold] += size
        chosen.append(fold)
    return chosen


def _check_classes(labels: Sequence[str]) -> None:
    found = set(labels)
    if len(found) < 2:
        what = f"all {len(labels)} rows are of class {min(found)!r}" if found else "there is no labelled row"
        raise InvalidArgument(f"{what}: a head needs at least 2 classes", name="labels", reason=Reason.TOO_FEW_IMAGES)
    for label in found:
        check_label(label)


def _check_members(members: dict[str, list[str]]) -> None:
    few = [label for label, mine in members.items() if len(mine) < 2]
    if few:
        names = ", ".join(repr(label) for label in few[:5]) + (", ..." if len(few) > 5 else "")
        raise InvalidArgument(
            f"{len(few)} of {len(members)} classes have fewer than 2 different images of their own: {names}; copies, "
            "and images that also carry another label, do not count: add images or leave these classes out",
            name=few[0],
            reason=Reason.TOO_FEW_IMAGES,
        )
