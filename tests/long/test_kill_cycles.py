"""300 times kill -9: upserts, deletions, payload updates, label records, segments made and merged, and migrations.

A log outside the data folder has what was begun and what was acknowledged. `make test-long` runs this.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fc7_service.bundle.provenance import Provenance
from fc7_service.collections import index_choice, snapshot
from fc7_service.collections.labels import Label
from fc7_service.collections.payload_updates import PayloadChange
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item

DIM, TAIL, IDS, N_KILLS, N_MIGRATIONS = 32, 40, 1000, 200, 100
pytestmark = pytest.mark.timeout(4 * 3600)  # seconds; on an idle machine it takes some minutes

FAULT = Path(__file__).parents[1] / "fault"
NOW = "2026-05-01T12:00:00.000+00:00"

State = tuple[dict[str, dict[str, Any]], list[list[str]]]  # payload of each id, and id and author of each label


def vector(n: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(n).normal(size=DIM).astype(np.float16).astype(np.float32)


def make_small(set_value: Any) -> None:
    set_value(index_choice, "_EXACT_NUMBERS", 0)
    set_value(snapshot, "_TAIL_ROWS", TAIL)


def choose_call(rng: random.Random, n: int) -> list[Any]:
    """Return a call: its kind, and what it is about. ``n`` grows from call to call."""
    ids = [f"i{i}" for i in rng.sample(range(IDS), 10)]
    kind = rng.choice(["upsert", "upsert", "delete", "update", "label"])
    return [kind, ids[:5] if kind == "delete" else ids, n]


def make_call(photos: Any, kind: str, ids: list[str], n: int) -> None:
    if kind == "upsert":
        photos.upsert([Item(own, str(n + i), {"n": n + i}, vector(n + i)) for i, own in enumerate(ids)])
    elif kind == "delete":
        photos.delete(ids)
    elif kind == "update":
        photos.update([(own, PayloadChange({"updated": n})) for own in ids])
    else:
        photos.labels.add([Label(own, "cat", "positive", f"call {n}", 0, NOW) for own in ids])


def expect(state: State, kind: str, ids: list[str], n: int) -> State:
    """Return the payloads and the labels after a call."""
    items, labels = dict(state[0]), list(state[1])
    if kind == "upsert":
        items |= {own: {"n": n + i} for i, own in enumerate(ids)}
    elif kind == "delete":
        items = {own: payload for own, payload in items.items() if own not in ids}
        labels = [one for one in labels if one[0] not in ids]
    elif kind == "update":
        items |= {own: items[own] | {"updated": n} for own in ids if own in items}
    else:
        labels += [[own, f"call {n}"] for own in ids if own in items]
    return items, labels


def work(folder: str, log: str, cycle: int) -> None:
    """Write for ever; log each call before it begins and once it has been acknowledged."""
    make_small(setattr)
    photos, rng = Collections(Path(folder)).get("photos"), random.Random(cycle)
    with open(log, "a", buffering=1) as lines:
        for step in range(10**6):
            photos.search(vector(0)[None], 3)
            call = choose_call(rng, cycle * 10**6 + step * 10)
            lines.write(json.dumps(["begin", *call]) + "\n")
            make_call(photos, *call)
            lines.write(json.dumps(["done", *call]) + "\n")


def replay(log: Path, state: State) -> tuple[State, State, int]:
    """Return the state if the last call was not stored, the state if it was, and the number of acknowledged calls."""
    after, n_done = state, 0
    for line in log.read_text().splitlines():
        progress, *call = json.loads(line)
        if progress == "begin":
            after = expect(state, *call)
        else:
            state, n_done = after, n_done + 1
    return state, after, n_done


def test_200_kills_lose_nothing_and_leave_nothing_half(tmp_path: Path, monkeypatch: Any) -> None:
    make_small(monkeypatch.setattr)
    folder, log, rng = tmp_path / "c", tmp_path / "log", random.Random(5)
    library = Collections(folder)
    library.create("photos", Provenance("m", "a" * 64, "b" * 64, "fc7"), DIM)
    library.close()
    state: State = ({}, [])
    n_acknowledged = n_unanswered = 0
    for cycle in range(N_KILLS):
        log.write_text("")
        script = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_kill_cycles as t; "
        command = [sys.executable, "-c", f"{script}t.work({str(folder)!r}, {str(log)!r}, {cycle})"]
        with subprocess.Popen(command) as writer:
            try:
                n_lines = rng.randrange(1, 60)
                while log.read_text().count("\n") < n_lines:
                    time.sleep(0.003)
                    assert writer.poll() is None
                time.sleep(rng.random() * 0.01)
            finally:
                writer.send_signal(signal.SIGKILL)
        whole = log.read_text()
        log.write_text(whole[: whole.rfind("\n") + 1])
        stored, after, n_done = replay(log, state)
        library = Collections(folder)
        photos = library.get("photos")
        items, _ = photos.page(0, 2 * IDS, True)
        records = [[record.label.id, record.label.author] for record in photos.labels.all()]
        state = {item.id: item.payload for item in items}, records
        assert state in (stored, after), cycle
        assert all(np.array_equal(item.vector, vector(item.payload["n"])) for item in items)
        hits = photos.search(vector(1)[None], 2 * IDS)[0]
        assert {hit.id for hit in hits} == state[0].keys()
        library.close()
        n_acknowledged, n_unanswered = n_acknowledged + n_done, n_unanswered + (stored != after)
    print(f"{N_KILLS} kills: {n_acknowledged} acknowledged calls, 0 lost; {n_unanswered} under way, 0 half")


def test_100_kills_of_a_migration_lose_nothing(tmp_path: Path) -> None:
    with zipfile.ZipFile(FAULT / "release_0_1.zip") as archive:
        archive.extractall(tmp_path / "old")
    rng = random.Random(6)
    for cycle in range(N_MIGRATIONS):
        folder = tmp_path / f"c{cycle}"
        shutil.copytree(tmp_path / "old", folder)
        script = (
            "import pathlib; from fc7_service.collections.registry import Collections; print(flush=True); "
            f"Collections(pathlib.Path({str(folder)!r})).get('killed')"
        )
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as opener:
            assert opener.stdout is not None
            opener.stdout.readline()
            time.sleep(rng.random() * 0.05)
            opener.send_signal(signal.SIGKILL)
        library = Collections(folder)
        assert len(library.get("killed").search(np.ones((1, 8), np.float32), 100)[0]) == 28
        library.close()
        assert sorted(one.name for one in (folder / "killed").iterdir()) == ["acknowledged", "collection.db"]
        shutil.rmtree(folder)
    print(f"{N_MIGRATIONS} kills of a migration: 0 of {28 * N_MIGRATIONS} items lost")
