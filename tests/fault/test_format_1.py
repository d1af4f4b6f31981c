"""Collections that release 0.1 wrote: they open, become format 2 in one step, and lose nothing on the way.

`release_0_1.zip` holds two of them, written by the code of that release: "closed", and "killed" with its log beside it.
"""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fc7.errors import DataLoss, ResourceExhausted
from fc7_service.collections import database, migration
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item
from fc7_service.collections.summary import Damaged

HERE = Path(__file__).parent
COPY = "collection.format-1.db"
QUERY = np.ones((1, 8), np.float32)
KEEP_GOING = 10**9


@pytest.fixture
def folder(tmp_path):
    with zipfile.ZipFile(HERE / "release_0_1.zip") as archive:
        archive.extractall(tmp_path)
    return tmp_path


def truth(folder, name):
    items = json.loads((folder / "truth.json").read_text())[name]["items"]
    return [Item(own, content, payload, np.float32(vector)) for own, content, payload, vector in items]


def says(collection):
    """All that a collection holds, in the order of insertion."""
    items, _ = collection.page(0, 1000, True)
    return [(one.id, one.content_sha256, one.payload, one.vector.tolist()) for one in items]


def holds(folder, name):
    return [(one.id, one.content_sha256, one.payload, np.float32(one.vector).tolist()) for one in truth(folder, name)]


def version(path):
    return int.from_bytes(path.read_bytes()[60:64], "big")


@pytest.mark.parametrize("name", ["closed", "killed"])
def test_it_opens_whole_and_keeps_a_copy_until_a_search_has_read_it(folder, name):
    library = Collections(folder)
    collection = library.get(name)
    assert collection.metric == {"closed": "cosine", "killed": "l2"}[name]
    assert collection.provenance.layer == "fc7"
    assert len(says(collection)) == collection.count == 28
    found = [(own, content, payload) for own, content, payload, _ in says(collection)]
    assert found == [(own, content, payload) for own, content, payload, _ in holds(folder, name)]
    for (*_, vector), (*_, wanted) in zip(says(collection), holds(folder, name), strict=True):
        np.testing.assert_allclose(vector, wanted, rtol=1e-3)
    path = folder / name
    assert version(path / "collection.db") == 2
    assert version(path / COPY) == 1
    assert collection.versions() == {}
    assert len(collection.search(QUERY, 100)[0]) == 28
    assert not (path / COPY).exists()
    assert collection.upsert(truth(folder, name)[:1]) == ["skipped"]
    assert collection.delete([truth(folder, name)[0].id]) == [True]
    library.close()
    library = Collections(folder)
    assert library.get(name).count == 27
    library.close()


def test_a_row_of_a_replaced_item_keeps_its_place_and_new_rows_get_new_numbers(folder):
    with sqlite3.connect(folder / "closed" / "collection.db") as old:
        (last,) = old.execute("SELECT seq FROM sqlite_sequence WHERE name = 'items'").fetchone()
        rids = old.execute("SELECT rid, place, id FROM items ORDER BY rid").fetchall()
    old.close()
    library = Collections(folder)
    library.get("closed").upsert([Item("new", "c", {}, QUERY[0])])
    library.close()
    with sqlite3.connect(folder / "closed" / "collection.db") as new:
        assert new.execute("SELECT rid, place, id FROM items ORDER BY rid").fetchall() == [
            *rids,
            (last + 1, last + 1, "new"),
        ]
    new.close()


def test_the_number_of_commits_goes_on(folder):
    note = folder / "killed" / "acknowledged"
    before = int.from_bytes(note.read_bytes()[4:12], "big")
    library = Collections(folder)
    library.get("killed").upsert([Item("new", "c", {}, QUERY[0])])
    library.close()
    assert int.from_bytes(note.read_bytes()[4:12], "big") == before + 1


def test_a_lost_commit_is_still_noticed(folder):
    (folder / "killed" / "collection.db-wal").unlink()
    before = (folder / "killed" / "collection.db").read_bytes()
    library = Collections(folder)
    _, killed = library.list()
    assert isinstance(killed, Damaged)
    assert "acknowledged commits are lost" in killed.fault
    library.close()
    assert (folder / "killed" / "collection.db").read_bytes() == before
    assert sorted(one.name for one in (folder / "killed").iterdir()) == ["acknowledged", "collection.db"]


def test_what_was_damaged_stays_damaged_and_the_copy_stays(folder):
    path = folder / "closed" / "collection.db"
    wanted = truth(folder, "closed")
    with sqlite3.connect(path) as old:
        old.execute("UPDATE items SET payload = '{}' WHERE id = ?", (wanted[0].id,))
        old.execute("DELETE FROM vectors WHERE rid = (SELECT rid FROM items WHERE id = ?)", (wanted[1].id,))
    old.close()
    library = Collections(folder)
    closed = library.get("closed")
    hits = closed.search(QUERY, 100)[0]
    assert {hit.id for hit in hits} == {item.id for item in wanted[2:]}
    assert sorted(closed.damaged_ids) == sorted(item.id for item in wanted[:2])
    assert all(isinstance(one, DataLoss) for one in closed.get([item.id for item in wanted[:2]]))
    assert (folder / "closed" / COPY).exists()
    assert closed.upsert(wanted[:2]) == ["replaced", "replaced"]
    library.close()
    library = Collections(folder)
    closed = library.get("closed")
    assert len(closed.search(QUERY, 100)[0]) == closed.count == 28
    assert closed.damaged_ids == []
    assert not (folder / "closed" / COPY).exists()
    library.close()


def test_a_full_disk_leaves_it_as_it_was(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in (folder / "closed").iterdir()}

    class FullDisk:
        def __init__(self, connection):
            self._connection = connection

        def __getattr__(self, name):
            return getattr(self._connection, name)

        def execute(self, sql, *values):
            if sql.startswith("INSERT INTO vectors"):
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
            return self._connection.execute(sql, *values)

    library = Collections(folder)
    with monkeypatch.context() as full:
        full.setattr(migration, "connect", lambda path, mode: FullDisk(database.connect(path, mode)))
        with pytest.raises(ResourceExhausted, match="disk is full"):
            library.get("closed")
    after = {path.name: path.read_bytes() for path in (folder / "closed").iterdir()}
    assert after.keys() == before.keys()
    assert [name for name in before if after[name] != before[name]] == []
    assert library.get("closed").count == 28
    library.close()


STEPS = """
import os, pathlib, signal, sys
from fc7_service.collections import migration
from fc7_service.collections.registry import Collections
left = int(sys.argv[2])
def line(frame, event, _):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return line
sys.settrace(lambda frame, event, _: line if frame.f_code.co_filename == migration.__file__ else None)
Collections(pathlib.Path(sys.argv[1])).get(sys.argv[3])
print(left)
"""


def migrate_and_die(folder, name, n_lines):
    """Open a collection in a process that is killed after ``n_lines`` lines of the migration; return what is left."""
    done = subprocess.run(
        [sys.executable, "-c", STEPS, folder, str(n_lines), name], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return int(done.stdout) if done.returncode == 0 else None


@pytest.mark.parametrize("name", ["closed", "killed"])
def test_killed_at_any_line_it_starts_again_from_the_old_one(folder, tmp_path_factory, name):
    fresh = tmp_path_factory.mktemp("fresh") / "collections"
    shutil.copytree(folder, fresh)
    n_lines = KEEP_GOING - migrate_and_die(fresh, name, KEEP_GOING)
    assert n_lines > 100
    for killed_after in sorted({0, 5, n_lines // 2, *range(n_lines - 14, n_lines, 2)}):
        copy = tmp_path_factory.mktemp("killed") / "collections"
        shutil.copytree(folder, copy)
        assert migrate_and_die(copy, name, killed_after) is None
        library = Collections(copy)
        collection = library.get(name)
        assert len(collection.search(QUERY, 100)[0]) == 28
        assert [one[0] for one in says(collection)] == [one.id for one in truth(folder, name)]
        library.close()
        assert sorted(one.name for one in (copy / name).iterdir()) == ["acknowledged", "collection.db"]
