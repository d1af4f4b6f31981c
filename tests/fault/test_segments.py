"""Segment files: a start trusts them only when they match their stamps, and whatever happens to them, answers stay."""

from __future__ import annotations

import contextlib
import errno
import random
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fc7_service.bundle.provenance import Provenance
from fc7_service.collections import index_choice, segment, snapshot
from fc7_service.collections.index_rabitq import RaBitQ
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item
from fc7_service.collections.search import Query, Search

PROVENANCE = Provenance("m", "a" * 64, "b" * 64, "fc7")
DIM, N, TAIL = 64, 400, 50
VECTORS = np.random.default_rng(0).normal(size=(4 * N, DIM)).astype(np.float16).astype(np.float32)
VECTORS[[3, 77]] *= 1e5  # fp16 cannot hold them


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Segments of tens of rows."""
    make_small(monkeypatch.setattr)


def make_small(set_value):
    set_value(index_choice, "_EXACT_NUMBERS", 0)
    set_value(snapshot, "_TAIL_ROWS", TAIL)


def item(n):
    return Item(f"i{n}", f"{n:064}", {"n": n}, VECTORS[n])


@pytest.fixture
def folder(tmp_path):
    """Closed collections "good" and "photos" with segments of their first N items, some of them deleted."""
    library = Collections(tmp_path / "c")
    for name in ("good", "photos"):
        photos = library.create(name, PROVENANCE, DIM, "l2")
        photos.upsert([item(n) for n in range(N)])
        photos.search(VECTORS[:1], 1)
        photos.delete(["i5", "i6"])
        photos.upsert([item(N)])
    library.close()
    return tmp_path / "c"


def files(folder, name="photos"):
    return sorted((folder / name / "segments").iterdir())


def check(photos, alive):
    """Search with vectors of stored items and others, and compare with all distances."""
    alive = np.array(sorted(alive))
    assert photos.count == len(alive)
    for n in (0, 3, 77, 78, N, N + 1):
        distances = np.linalg.norm(VECTORS[alive].astype(np.float64) - VECTORS[n], axis=1)
        best = alive[np.argsort(distances, kind="stable")[:5]]
        (hits,), _ = photos.answer([Query(VECTORS[n])], Search(k=5, is_exact=True))
        assert [hit.id for hit in hits] == [f"i{one}" for one in best]
        assert photos.search(VECTORS[n : n + 1], 5)[0][0].id == hits[0].id
    assert len(photos.search(VECTORS[:1], 10 * N)[0]) == len(alive)


ALIVE = {*range(N + 1)} - {5, 6}


def test_a_start_computes_nothing_and_reads_no_vector_again(folder, monkeypatch):
    def refuse(*_):
        raise AssertionError("computed")

    library = Collections(folder)
    monkeypatch.setattr(RaBitQ, "_compute", refuse)
    photos = library.get("photos")
    read = []
    vectors = photos._store.vectors
    monkeypatch.setattr(photos._store, "vectors", lambda *ends: read.append(ends) or vectors(*ends))
    check(photos, ALIVE)
    assert read == [(N + 1, N + 1)]  # the tail
    assert photos.index_name == "rabitq"
    library.close()


def test_rows_become_segments_before_anybody_searches(folder, monkeypatch):
    library = Collections(folder)
    fresh = library.create("fresh", PROVENANCE, DIM, "l2")
    for n in range(0, N, 40):
        fresh.upsert([item(m) for m in range(n, n + 40)])
    fresh._searcher.wait_for_rebuild()
    assert not fresh.is_indexed
    assert files(folder, "fresh")
    fresh.delete(["i7"])
    n_read = []
    vectors = fresh._store.vectors
    monkeypatch.setattr(fresh._store, "vectors", lambda *ends: (n_read.extend(part) or part for part in vectors(*ends)))
    check(fresh, {*range(N)} - {7})
    assert len(n_read) <= TAIL + 40  # the last commit may come while the thread ends
    library.close()


def cut(data, share):
    return data[: int(share * len(data))]


def flip(data, share):
    at = min(int(share * len(data)), len(data) - 1)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("share", [0, 0.2, 0.6, 0.9, 1])
@pytest.mark.parametrize("harm", [cut, flip])
def test_a_damaged_file_is_never_used_and_made_anew(folder, harm, share, caplog):
    (file,) = files(folder)
    whole = file.read_bytes()
    harmed = harm(whole, min(share, 1 - 1 / len(whole)))
    file.write_bytes(harmed)
    library = Collections(folder)
    check(library.get("photos"), ALIVE)
    assert "made anew" in caplog.text
    library.close()
    assert all(one.read_bytes() != harmed for one in files(folder))
    caplog.clear()
    library = Collections(folder)
    check(library.get("photos"), ALIVE)
    assert "made anew" not in caplog.text
    library.close()


def test_a_file_that_breaks_before_its_rows_are_first_used(folder):
    library = Collections(folder)
    photos = library.get("photos")
    assert photos.search(VECTORS[10:11], 1)[0][0].id == "i10"
    (held,), (file,) = photos._searcher._segments._segments, files(folder)
    held.vectors._is_checked[:] = False
    with file.open("rb+") as harmed:  # in place, as a failing disk does
        harmed.write(bytes(N * DIM))
    check(photos, ALIVE)
    library.close()


def test_a_missing_file_and_one_of_another_collection(folder, caplog):
    library = Collections(folder)
    other = library.create("other", PROVENANCE, DIM, "l2")
    other.upsert([item(N + n) for n in range(N)])
    other.search(VECTORS[:1], 1)
    library.close()
    (foreign,), (own,) = files(folder, "other"), files(folder)
    shutil.copy(foreign, own)
    files(folder, "good")[0].unlink()
    library = Collections(folder)
    for name in ("good", "photos"):
        check(library.get(name), ALIVE)
    assert caplog.text.count("made anew") == 2
    library.close()


def test_a_folder_copied_under_two_names(folder):
    shutil.copytree(folder / "photos", folder / "copy")
    library = Collections(folder)
    photos, copy = library.get("photos"), library.get("copy")
    photos.upsert([item(N + 1 + n) for n in range(2 * TAIL)])
    copy.upsert([item(2 * N + n) for n in range(2 * TAIL)])  # the same rids, other vectors
    copy.delete(["i7"])
    check(photos, ALIVE | {N + 1 + n for n in range(2 * TAIL)})
    check(copy, ALIVE - {7} | {2 * N + n for n in range(2 * TAIL)})
    library.close()
    for own in files(folder, "photos"):
        shutil.copy(own, folder / "copy" / "segments")
    library = Collections(folder)
    check(library.get("copy"), ALIVE - {7} | {2 * N + n for n in range(2 * TAIL)})
    library.close()


def test_rids_that_were_never_committed_are_not_taken_for_stored(folder):
    library = Collections(folder)
    photos = library.get("photos")
    photos.search(VECTORS[:1], 1)
    with contextlib.suppress(ZeroDivisionError), photos._store.transaction():
        photos._store.put_all([item(n) for n in range(N + 1, N + 100)], {})
        raise ZeroDivisionError
    photos.upsert([item(N + 1)])
    photos._searcher._rebuild()
    photos.delete([f"i{N + 1}"])
    library.close()
    library = Collections(folder)  # gives the same rids again
    photos = library.get("photos")
    photos.upsert([item(N + 1 + n) for n in range(99)])
    check(photos, ALIVE | {N + 1 + n for n in range(99)})
    library.close()


def test_growth_reads_each_row_from_the_database_once_and_keeps_few_segments(folder, monkeypatch):
    library = Collections(folder)
    photos = library.get("photos")
    photos.search(VECTORS[:1], 1)
    n_read = []
    vectors = photos._store.vectors

    def counted(*ends):
        for part in vectors(*ends):
            n_read.extend(part)
            yield part

    monkeypatch.setattr(photos._store, "vectors", counted)
    for n in range(N + 1, 4 * N, 30):
        photos.upsert([item(m) for m in range(n, min(n + 30, 4 * N))])
        photos._searcher.wait_for_rebuild()
    check(photos, {*range(4 * N)} - {5, 6})
    assert len(n_read) < 3.1 * N
    held = photos._searcher._segments._segments
    sizes = [len(one.rids) for one in held]
    assert all(older >= 2 * newer for older, newer in pairwise(sizes))
    assert [f"{one.stamp}.segment" for one in sorted(held, key=lambda one: one.stamp)] == [
        one.name for one in files(folder)
    ]
    photos.delete([f"i{n}" for n in range(3 * N)])
    photos._searcher.wait_for_rebuild()
    check(photos, range(3 * N, 4 * N))
    assert photos._searcher._snapshot.n_dead <= 0.2 * 4 * N
    library.close()
    library = Collections(folder)
    check(library.get("photos"), range(3 * N, 4 * N))
    library.close()


def test_what_fp16_cannot_hold_leaves_the_others_in_fp16(folder):
    library = Collections(folder)
    photos = library.get("photos")
    check(photos, ALIVE)
    (held,) = photos._searcher._segments._segments
    assert held.vectors.wide.positions.tolist() == [3, 77]
    assert held.vectors._rows.dtype == np.float16
    np.testing.assert_array_equal(held.vectors.raw(slice(0, 5)), VECTORS[:5])
    np.testing.assert_array_equal(held.vectors.raw(np.array([9, 77, 3])), VECTORS[[9, 77, 3]])
    library.close()


def test_a_full_disk_keeps_a_segment_in_memory(folder, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    shutil.rmtree(folder / "photos" / "segments")
    with monkeypatch.context() as full:
        full.setattr(segment, "_written", refuse)
        library = Collections(folder)
        check(library.get("photos"), ALIVE)
        assert "stays in memory" in caplog.text
        library.close()
    assert files(folder) == []
    library = Collections(folder)
    check(library.get("photos"), ALIVE)
    library.close()
    assert len(files(folder)) == 1


def test_a_full_disk_during_a_merge_costs_no_answer(folder, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    library = Collections(folder)
    photos = library.get("photos")
    photos.search(VECTORS[:1], 1)
    with monkeypatch.context() as full:
        full.setattr(segment, "_written", refuse)
        photos.upsert([item(N + 1 + n) for n in range(N)])  # as many as the sealed ones: both are merged
        photos._searcher.wait_for_rebuild()
        check(photos, ALIVE | {N + 1 + n for n in range(N)})
    assert "collection 'photos': a segment stays in memory: [Errno 28] No space left on device" in caplog.text
    library.close()
    assert not [one for one in (folder / "photos" / "segments").iterdir() if one.suffix == segment.UNFINISHED]
    library = Collections(folder)
    check(library.get("photos"), ALIVE | {N + 1 + n for n in range(N)})
    library.close()
    assert len(files(folder)) == 1


def test_segments_with_each_others_names_are_made_anew(folder, caplog):
    library = Collections(folder)
    photos = library.get("photos")
    photos.search(VECTORS[:1], 1)
    photos.upsert([item(N + 1 + n) for n in range(2 * TAIL)])
    photos._searcher.wait_for_rebuild()
    library.close()
    one, other = files(folder)
    held = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(held)
    library = Collections(folder)
    check(library.get("photos"), ALIVE | {N + 1 + n for n in range(2 * TAIL)})
    assert caplog.text.count("made anew") == 2
    library.close()


def test_a_collection_that_shrinks_needs_no_segments(folder, monkeypatch):
    library = Collections(folder)
    photos = library.get("photos")
    photos.search(VECTORS[:1], 1)
    monkeypatch.setattr(index_choice, "_EXACT_NUMBERS", 10**9)
    photos.delete([f"i{n}" for n in range(N // 2)])
    photos._searcher.wait_for_rebuild()
    check(photos, range(N // 2, N + 1))
    assert photos.index_name == "exact"
    assert files(folder) == []
    library.close()


def test_damage_in_the_database_is_still_said_after_a_start(folder):
    library = Collections(folder)
    photos = library.get("photos")
    photos.delete(["i9"])
    photos._store._writer.connection.execute(
        "UPDATE vectors SET crc = crc + 1 WHERE rid IN (SELECT rid FROM items WHERE id = 'i8')"
    )
    photos._searcher._segments.clear()
    shutil.rmtree(folder / "photos" / "segments")
    photos.search(VECTORS[:1], 1)
    library.close()
    for _ in range(2):  # the second start reads the segment that leaves it out
        library = Collections(folder)
        photos = library.get("photos")
        hits = photos.search(VECTORS[8:9], 10 * N)[0]
        assert len(hits) == len(ALIVE) - 2
        assert photos.damaged_ids == ["i8"]
        library.close()


WRITER = """
import pathlib, sys
sys.path.insert(0, sys.argv[2])
from test_segments import TAIL, VECTORS, Collections, item, make_small
make_small(setattr)
photos = Collections(pathlib.Path(sys.argv[1])).get("photos")
for first in range(int(sys.argv[3]), len(VECTORS) - 10, 10):
    photos.search(VECTORS[:1], 1)
    photos.upsert([item(n) for n in range(first, first + 10)])
    photos.delete([f"i{first - 1}"])
    print(first, flush=True)
"""


def test_kill_9_while_segments_are_made_and_merged_loses_nothing(folder):
    rng, alive, following = random.Random(3), set(ALIVE), N + 1
    for _ in range(4):
        command = [sys.executable, "-c", WRITER, folder, Path(__file__).parent, str(following)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            done = [int(writer.stdout.readline()) for _ in range(rng.randint(6, 20))]
            writer.send_signal(signal.SIGKILL)
            done += [int(line) for line in writer.stdout.read().split("\n")[:-1]]
        for first in done:
            alive = alive | {*range(first, first + 10)} - {first - 1}
            alive.discard(first - 1)
        library = Collections(folder)
        photos = library.get("photos")
        following = done[-1] + 10
        extra = photos.get([f"i{n}" for n in range(following, following + 10)])
        if not isinstance(extra[0], Exception):  # the last commit was not acknowledged
            alive |= {*range(following, following + 10)}
            following += 10
            if isinstance(photos.get([f"i{following - 11}"])[0], Exception):
                alive.discard(following - 11)
        check(photos, alive)
        library.close()
