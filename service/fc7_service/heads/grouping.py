"""Which rows must stay on one side of every split: copies, rows of one group, and almost equal pictures of a class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from fc7_service.heads.folds import N_FOLDS
from fc7_service.heads.near_duplicates import Pair


def join_groups(
    contents: Sequence[str], groups: Sequence[str], labels: Sequence[str], pairs: Iterable[Pair]
) -> list[str]:
    """Return the group of each row, named after the least content hash in it.

    Almost equal pictures are joined within a class, and only if every class keeps as many groups as there are folds:
    a set of one product from many angles must remain trainable.

    Parameters
    ----------
    contents
        Content hash of each row.
    groups
        The user's groups, empty for none; an empty text stands for a row without a group.
    labels
        Class of each row.
    pairs
        Rows that are almost the same picture.
    """
    links = _links(contents) + (_links([group and f"group {group}" for group in groups]) if groups else [])
    alone = _join(contents, links)
    near = [(pair.first, pair.second) for pair in pairs if labels[pair.first] == labels[pair.second]]
    if not near:
        return alone
    joined = _join(contents, links + near)
    return joined if min(_groups_per_class(labels, joined).values()) >= N_FOLDS else alone


def _links(names: Sequence[str]) -> list[tuple[int, int]]:
    """Return pairs of rows that chain all rows with the same name; rows with an empty name stand alone."""
    last: dict[str, int] = {}
    links = []
    for row, name in enumerate(names):
        if name:
            if name in last:
                links.append((last[name], row))
            last[name] = row
    return links


def _join(contents: Sequence[str], links: Iterable[tuple[int, int]]) -> list[str]:
    """Return the least content of the rows that links connect, directly or not.

    References
    ----------
    Tarjan 1975, "Efficiency of a good but not linear set union algorithm".
    """
    parents = list(range(len(contents)))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    for first, second in links:
        parents[root(second)] = root(first)
    roots = [root(row) for row in range(len(contents))]
    names: dict[int, str] = {}
    for row, of_row in enumerate(roots):
        names[of_row] = min(names.get(of_row, contents[row]), contents[row])
    return [names[of_row] for of_row in roots]


def _groups_per_class(labels: Sequence[str], groups: Sequence[str]) -> dict[str, int]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for label, group in zip(labels, groups, strict=True):
        found[label].add(group)
    return {label: len(its) for label, its in found.items()}
