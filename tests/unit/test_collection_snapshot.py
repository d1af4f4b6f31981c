"""Snapshots: each sees the rows of its commit for ever, and a commit copies nothing as long as the collection."""

from __future__ import annotations

import numpy as np

from fc7_service.collections.rows import StoredRow
from fc7_service.collections.snapshot import Snapshot

DIM = 8


def row(rid, place):
    vector = np.random.default_rng(rid).normal(size=DIM).astype(np.float16)
    return StoredRow(rid, place, str(place), "", "{}", vector)


def built(n):
    rows = [row(rid, rid) for rid in range(n)]
    return Snapshot.build(np.arange(n), np.arange(n), np.stack([one.vector for one in rows]), "l2")


def rids(snapshot):
    ((*hits,),) = snapshot.search(np.zeros((1, DIM), np.float32), 1000)
    return {rid for rid, _ in hits}


def test_each_snapshot_sees_its_own_commit_for_ever():
    rng, newest, next_rid = np.random.default_rng(0), built(30), 30
    expected, commits = set(range(30)), []
    commits.append((newest, set(expected)))
    for _ in range(40):
        added = [row(next_rid + i, next_rid + i) for i in range(rng.integers(0, 4))]
        deleted = rng.choice(sorted(expected), size=min(len(expected), rng.integers(0, 4)), replace=False).tolist()
        next_rid += len(added)
        newest = newest.with_changes(added, [*deleted, next_rid + 1000])  # a rid that nobody has is no error
        expected = (expected | {one.rid for one in added}) - set(deleted)
        commits.append((newest, set(expected)))
    for snapshot, wanted in commits:
        assert rids(snapshot) == wanted
        assert snapshot.n_alive == len(wanted)


def test_deleting_twice_counts_once():
    snapshot = built(30).with_changes([row(30, 30)], []).with_changes([], [4, 30]).with_changes([], [4, 4, 30])
    assert snapshot.n_alive == 29
    assert rids(snapshot) == {*range(30)} - {4}


def test_a_commit_copies_nothing_as_long_as_the_collection():
    first = built(30).with_changes([row(30, 30)], [])
    added = first.with_changes([row(31, 31)], [])
    assert added.rids is first.rids
    assert added.places is first.places
    assert added.alive is None
    assert np.shares_memory(added.tail_vectors, first.tail_vectors)
    deleted = added.with_changes([], [3])
    assert deleted.rids is first.rids
    assert deleted.tail_alive is None
    assert added.alive is None
    assert not deleted.alive[3]
