"""300 times kill -9: upserts, deletions, changes of payloads, segments made and merged, and migrations.

A log outside the data folder has what was acknowledged. `make test-long` runs this.
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

from fc7_service.collections import index_choice, snapshot
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item

DIM, TAIL, N_KILLS, N_MIGRATIONS = 32, 40, 200, 100
FAULT = Path(__file__).parents[1] / "fault"


def vector(n: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(n).normal(size=DIM).astype(np.float16).astype(np.float32)


def make_small(set_value: Any) -> None:
    set_value(index_choice, "_EXACT_NUMBERS", 0)
    set_value(snapshot, "_TAIL_ROWS", TAIL)


def work(folder: str, log: str, cycle: int) -> None:
    """Write for ever; log each call once it has been acknowledged."""
    make_small(setattr)
    photos, rng = Collections(Path(folder)).get("photos"), random.Random(cycle)
    with open(log, "a", buffering=1) as acknowledged:
        for step in range(10**6):
            base = cycle * 10**6 + step * 10
            photos.search(vector(0)[None], 3)
            added = [[f"i{rng.randrange(400)}" if rng.random() < 0.3 else f"n{base + i}", base + i] for i in range(10)]
            added = list({own: [own, n] for own, n in added}.values())
            acknowledged.write(json.dumps(["begin", added, []]) + "\n")
            photos.upsert([Item(own, str(n), {"n": n}, vector(n)) for own, n in added])
            acknowledged.write(json.dumps(["done", added, []]) + "\n")
            gone = [f"i{rng.randrange(400)}" for _ in range(3)]
            acknowledged.write(json.dumps(["begin", [], gone]) + "\n")
            photos.delete(gone)
            acknowledged.write(json.dumps(["done", [], gone]) + "\n")


def replay(log: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Return the items if the last call was not stored, and if it was."""
    stored: dict[str, int] = {}
    after: dict[str, int] = {}
    for line in log.read_text().splitlines():
        kind, added, gone = json.loads(line)
        after = {own: n for own, n in {**stored, **dict(added)}.items() if own not in gone}
        if kind == "done":
            stored = after
    return stored, after


def test_200_kills_lose_nothing_and_leave_nothing_half(tmp_path: Path, monkeypatch: Any) -> None:
    make_small(monkeypatch.setattr)
    from fc7_service.bundle.provenance import Provenance

    folder, log, rng = tmp_path / "c", tmp_path / "log", random.Random(5)
    log.write_text("")
    library = Collections(folder)
    library.create("photos", Provenance("m", "a" * 64, "b" * 64, "fc7"), DIM)
    library.close()
    n_lines = 0
    for cycle in range(N_KILLS):
        script = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_kill_cycles as t; "
        command = [sys.executable, "-c", f"{script}t.work({str(folder)!r}, {str(log)!r}, {cycle})"]
        with subprocess.Popen(command) as writer:
            while log.read_text().count("\n") == n_lines:
                time.sleep(0.01)
                assert writer.poll() is None
            time.sleep(rng.random() * 0.4)
            writer.send_signal(signal.SIGKILL)
        whole = log.read_text()
        log.write_text(whole[: whole.rfind("\n") + 1])
        n_lines = whole.count("\n")
        library = Collections(folder)
        photos = library.get("photos")
        items, _ = photos.page(0, 10**6, True)
        found = {item.id: item.payload["n"] for item in items}
        stored, after = replay(log)
        assert found in (stored, after), cycle
        assert all(np.array_equal(item.vector, vector(item.payload["n"])) for item in items)
        hits = photos.search(vector(1)[None], 10**6)[0]
        assert {hit.id for hit in hits} == found.keys()
        library.close()
        log.write_text(json.dumps(["done", list(found.items()), []]) + "\n")
        n_lines = 1


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
