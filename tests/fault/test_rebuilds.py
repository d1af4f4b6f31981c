"""The index while it is made anew: what is deleted, replaced, searched and given up meanwhile."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fc7
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections import index_choice, snapshot
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item
from fc7_service.collections.searcher import Searcher
from servers import WAIT_S, jpeg

DIM, N = 16, 200


def vector(n: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(n).normal(size=DIM).astype(np.float16).astype(np.float32)


class Paused:
    """A rebuild that stops after it has read the rows, until it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.has_read, self.go_on = threading.Event(), threading.Event()
        build = Searcher._build

        def paused(searcher: Searcher, stored: Any) -> Any:
            made = build(searcher, stored)
            self.has_read.set()
            assert self.go_on.wait(WAIT_S)
            return made

        monkeypatch.setattr(Searcher, "_build", paused)


@pytest.fixture(params=["exact", "rabitq"])
def photos(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A searched collection of either index, whose next rebuild begins with few changes."""
    if request.param == "rabitq":
        monkeypatch.setattr(index_choice, "_EXACT_NUMBERS", 0)
        monkeypatch.setattr(snapshot, "_TAIL_ROWS", 40)
    monkeypatch.setattr(snapshot, "_STALE_ROWS", 20)
    library = Collections(tmp_path)
    made = library.create("photos", Provenance("m", "a" * 64, "b" * 64, "fc7"), DIM)
    made.upsert([Item(f"i{n}", str(n), {"n": n}, vector(n)) for n in range(N)])
    made.search(vector(0)[None], 1)
    yield made
    library.close()


def ids(photos: Any) -> set[str]:
    return {hit.id for hit in photos.search(vector(3)[None], 2 * N)[0]}


def test_what_is_deleted_during_a_rebuild_is_never_found(photos: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """S22: before, during and after the swap."""
    rebuild = Paused(monkeypatch)
    photos.upsert([Item(f"n{n}", str(n), {}, vector(1000 + n)) for n in range(60)])  # begins one
    assert rebuild.has_read.wait(WAIT_S)
    gone = {f"i{n}" for n in range(0, N, 2)} | {f"n{n}" for n in range(0, 60, 2)}
    assert all(photos.delete(sorted(gone)))
    left = {f"i{n}" for n in range(1, N, 2)} | {f"n{n}" for n in range(1, 60, 2)}
    assert ids(photos) == left
    rebuild.go_on.set()
    photos._searcher.wait_for_rebuild()
    assert ids(photos) == left
    assert photos.search(vector(0)[None], 1)[0][0].id != "i0"


def test_answers_during_a_rebuild_come_from_one_generation(photos: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """S23: every answer is that of before or after a commit, and the old index is given back after its last reader."""
    old = weakref.ref(photos._searcher.current().rids)
    rebuild = Paused(monkeypatch)
    photos.upsert([Item(f"n{n}", str(n), {}, vector(1000 + n)) for n in range(60)])
    assert rebuild.has_read.wait(WAIT_S)
    is_over, seen = threading.Event(), list[tuple[set[str], dict[str, int]]]()

    def search() -> None:
        while not is_over.is_set():
            (hits,) = photos.search(vector(3)[None], 2 * N)
            seen.append(({hit.id for hit in hits}, {hit.id: hit.payload.get("n", 0) for hit in hits}))

    everything = {f"i{n}" for n in range(N)} | {f"n{n}" for n in range(60)}
    with ThreadPoolExecutor(2) as threads:
        searches = [threads.submit(search) for _ in range(2)]
        try:
            for round_ in range(1, 6):  # each in one transaction: an answer has all of it, or nothing
                photos.upsert([Item(f"i{n}", f"{n} {round_}", {"n": -round_}, vector(n)) for n in range(50)])
                if round_ == 3:
                    rebuild.go_on.set()
            photos._searcher.wait_for_rebuild()
        finally:
            rebuild.go_on.set()
            is_over.set()
        for one in searches:
            one.result(WAIT_S)
    for found, payloads in seen:
        assert found == everything
        assert len({min(payloads[f"i{n}"], 0) for n in range(50)}) == 1  # 0 is before the first round
    assert seen
    gc.collect()
    assert old() is None


def test_a_rebuild_that_runs_out_of_memory_leaves_the_old_index(
    photos: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """S31: the old index answers, with what was added since, until a rebuild succeeds."""

    def refuse(*_: Any) -> None:
        raise MemoryError

    everything = {f"i{n}" for n in range(N)} | {f"n{n}" for n in range(60)}
    with monkeypatch.context() as full:
        full.setattr(Searcher, "_build", refuse)
        photos.upsert([Item(f"n{n}", str(n), {}, vector(1000 + n)) for n in range(60)])
        photos._searcher.wait_for_rebuild()
        assert ids(photos) == everything
    assert "collection 'photos': the index could not be rebuilt; the old one still answers" in caplog.text
    photos.upsert([Item("last", "l", {}, vector(2000))])
    photos._searcher.wait_for_rebuild()
    assert ids(photos) == everything | {"last"}
    assert not photos._searcher.current().is_stale


def test_a_search_that_its_caller_gives_up_leaves_no_lock(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S33: the time is up in the middle of a search; the next search, write and deletion go on at once."""
    with fc7.connect(data=tmp_path, models=[str(tiny_bundle)]) as client:
        photos = client.create_collection("photos")
        photos.add([jpeg(i) for i in range(4)], ids=list("0123"))
        photos.search(id="1", k=1)
        begun, go_on, look_up = threading.Event(), threading.Event(), Searcher._look_up

        def slow(self: Searcher, *args: Any) -> Any:
            begun.set()
            assert go_on.wait(WAIT_S)
            return look_up(self, *args)

        monkeypatch.setattr(Searcher, "_look_up", slow)
        try:
            with pytest.raises(fc7.DeadlineExceeded, match=r"did not answer in time|took longer than timeout_s"):
                photos.search(id="1", k=1, timeout_s=1)
            assert begun.is_set()
            monkeypatch.setattr(Searcher, "_look_up", look_up)
            assert photos.search(id="1", k=3)
            assert photos.add([jpeg(9)], ids=["9"])[0].status == "added"
            assert photos.remove(["0"])[0].error is None
        finally:
            go_on.set()
    with fc7.connect(data=tmp_path, models=[str(tiny_bundle)]) as client:
        assert client.collection("photos").count == 4


def test_ctrl_c_in_a_search_ends_the_process_and_leaves_a_whole_collection(tmp_path: Path) -> None:
    """S33: an interrupt inside the index."""
    script = f"""
import pathlib, sys
import numpy as np
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1])!r}]
import test_rebuilds as t
library = t.Collections(pathlib.Path({str(tmp_path)!r}))
photos = library.create("photos", t.Provenance("m", "a" * 64, "b" * 64, "fc7"), t.DIM)
photos.upsert([t.Item(f"i{{n}}", str(n), {{}}, t.vector(n)) for n in range(t.N)])
print("ready", flush=True)
while True:
    photos.search(np.stack([t.vector(n) for n in range(64)]), 50)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as searcher:
        assert searcher.stdout is not None
        assert searcher.stdout.readline() == "ready\n"
        time.sleep(0.1)  # into a search
        searcher.send_signal(signal.SIGINT)
        _, errors = searcher.communicate(timeout=WAIT_S)
    assert errors.endswith("KeyboardInterrupt\n")
    library = Collections(tmp_path)
    assert ids(library.get("photos")) == {f"i{n}" for n in range(N)}
    library.close()
