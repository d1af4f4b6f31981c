"""What kills, cut files, flipped bits and full disks do to collections."""

from __future__ import annotations

import errno
import hashlib
import logging
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fc7.errors import DataLoss, Fc7Error, ResourceExhausted, Unavailable
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item
from fc7_service.collections.summary import Damaged, Summary

PROVENANCE = Provenance("m", "a" * 64, "b" * 64, "fc7")
DIM, N = 64, 60
QUERY = np.ones((1, DIM), np.float32)


def item(name):
    content = hashlib.sha256(name.encode()).hexdigest()
    vector = np.random.default_rng(int(content[:8], 16)).normal(size=DIM).astype(np.float16).astype(np.float32)
    return Item(name, content, {"name": name}, vector)


def is_true(found, name):
    """Whether a stored item is what was stored under its name."""
    truth = item(name)
    same = (found.id, found.content_sha256, found.payload) == (name, truth.content_sha256, truth.payload)
    return same and np.array_equal(found.vector, truth.vector)


def cosine(name):
    vector = item(name).vector.astype(np.float64)
    return vector.sum() / np.linalg.norm(vector) / DIM**0.5


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two closed collections, "good" and "photos", of N items each."""
    path = tmp_path / "collections"
    library = Collections(path)
    for name in ("good", "photos"):
        library.create(name, PROVENANCE, DIM).upsert([item(f"i{n}") for n in range(N)])
    library.close()
    return path


def database(folder):
    return folder / "photos" / "collection.db"


def log(folder):
    return folder / "photos" / "collection.db-wal"


def note(folder):
    return folder / "photos" / "acknowledged"


def noted(folder):
    """Number of the last acknowledged commit."""
    return int.from_bytes(note(folder).read_bytes()[4:12], "big")


def faults(folder, text):
    """Check that "photos" is set aside with a fault like ``text`` while "good" serves, and no byte changes."""
    before = evidence(folder)
    library = Collections(folder)
    good, photos = library.list()
    assert isinstance(photos, Damaged)
    assert re.search(text, photos.fault)
    with pytest.raises(DataLoss, match="set aside"):
        library.get("photos")
    assert isinstance(good, Summary)
    assert len(library.get("good").search(QUERY, 100)[0]) == N
    library.close()
    assert evidence(folder) == before


def evidence(folder):
    """All files of "photos" but the index of the log, which SQLite makes anew at each open, and an empty log."""
    files = {path: path.read_bytes() for path in (folder / "photos").iterdir() if not path.name.endswith("-shm")}
    return {path: data for path, data in files.items() if data or path != log(folder)}


WRITER = """
import pathlib, sys, threading
sys.path.insert(0, sys.argv[2])
from test_storage import Collections, item
photos = Collections(pathlib.Path(sys.argv[1])).get("photos")
lock = threading.Lock()
def write(worker):
    for batch in range(10_000):
        names = [f"{sys.argv[3]}-{worker}-{batch}-{n}" for n in range(7)]
        photos.upsert([item(name) for name in names])
        with lock:
            sys.stdout.write(" ".join(names) + "\\n")
            sys.stdout.flush()
for worker in range(3):
    threading.Thread(target=write, args=(worker,)).start()
"""


def test_kill_9_loses_nothing_acknowledged(folder):
    rng, acknowledged = random.Random(7), []
    for kill in range(5):
        command = [sys.executable, "-c", WRITER, folder, Path(__file__).parent, str(kill)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            for _ in range(rng.randint(1, 60)):
                acknowledged += writer.stdout.readline().split()
            writer.send_signal(signal.SIGKILL)
            acknowledged += writer.stdout.read().rpartition("\n")[0].split()
        library = Collections(folder)
        photos = library.get("photos")
        found = photos.get(acknowledged, True)
        assert all(is_true(row, name) for row, name in zip(found, acknowledged, strict=True))
        assert (photos.count - N) % 7 == 0  # a batch is there wholly or not at all
        hits = photos.search(QUERY, 10**6)[0]
        assert len({hit.id for hit in hits}) == len(hits) == photos.count
        assert all(hit.score == pytest.approx(cosine(hit.id), abs=1e-6) for hit in hits)
        library.close()
    assert len(acknowledged) > 5 * 7


COMMITTER = """
import os, pathlib, signal, sys
sys.path.insert(0, sys.argv[2])
from test_storage import Collections, item
from fc7_service.collections.commit_counter import CommitCounter
photos = Collections(pathlib.Path(sys.argv[1])).get("photos")
for batch in range(int(sys.argv[3])):
    photos.upsert([item(f"b{batch}-{n}") for n in range(7)])
CommitCounter.acknowledge = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
photos.upsert([item("unacknowledged")])
"""
COMMITS = 30


def commit_and_die(folder, n_commits):
    """Make commits of 7 rows in a process that is killed after one more commit, before that is acknowledged."""
    command = [sys.executable, "-c", COMMITTER, folder, Path(__file__).parent, str(n_commits)]
    assert subprocess.run(command).returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("killed") / "collections"
    library = Collections(path)
    for name in ("good", "photos"):
        library.create(name, PROVENANCE, DIM).upsert([item(f"i{n}") for n in range(N)])
    library.close()
    commit_and_die(path, COMMITS)
    return path


@pytest.fixture
def killed(killed_once, tmp_path) -> Path:
    """As ``folder``, but the writer of "photos" was killed and left COMMITS + 1 commits in the log."""
    return shutil.copytree(killed_once, tmp_path / "killed")


def cut(data, share):
    return data[: int(share * len(data))]


def flip(data, share):
    at = int(share * len(data))
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("share", [0, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("harm", [cut, flip])
def test_a_damaged_log_is_never_a_silent_loss(killed, tmp_path, harm, share):
    log(killed).write_bytes(harm(log(killed).read_bytes(), share))
    copy = shutil.copytree(killed, tmp_path / "copy")
    with sqlite3.connect(database(copy)) as connection:
        (n_left,) = connection.execute("SELECT count(*) FROM items").fetchone()
    connection.close()
    assert n_left < N + 7 * COMMITS
    n_lost = COMMITS - (n_left - N) // 7
    faults(killed, rf"^{n_lost} acknowledged commits are lost: .*delete photos/acknowledged")

    note(killed).unlink()  # as the message says
    library = Collections(killed)
    photos = library.get("photos")
    assert photos.count == len(photos.search(QUERY, 10**6)[0]) == n_left
    photos.upsert([item("more")])
    library.close()
    assert noted(killed) == 1 + (n_left - N) // 7 + 1
    assert _answers_all(killed, n_left + 1)


def test_a_lost_log_is_never_a_silent_loss(killed):
    log(killed).unlink()
    faults(killed, f"^{COMMITS} acknowledged commits are lost")


def test_an_older_database_beside_a_newer_note(folder):
    older = database(folder).read_bytes()
    library = Collections(folder)
    library.get("photos").delete(["i1"])
    library.close()
    database(folder).write_bytes(older)
    faults(folder, "^1 acknowledged commit is lost")


def _answers_all(folder, n):
    library = Collections(folder)
    photos = library.get("photos")
    found = photos.count, len(photos.search(QUERY, 10**6)[0])
    library.close()
    return found == (n, n)


@pytest.mark.parametrize("n_bytes", [32, 4096])
def test_what_was_not_acknowledged_may_be_lost(killed, n_bytes):
    assert noted(killed) == 1 + COMMITS
    log(killed).write_bytes(log(killed).read_bytes()[:-n_bytes])
    assert _answers_all(killed, N + 7 * COMMITS)


def test_killed_between_commit_and_note(killed):
    library = Collections(killed)
    photos = library.get("photos")
    assert photos.count == N + 7 * COMMITS + 1
    assert photos.upsert([item("unacknowledged")]) == ["skipped"]
    assert noted(killed) == 1 + COMMITS + 1  # now it is acknowledged
    library.close()


def test_a_missing_note(killed):
    note(killed).unlink()
    library = Collections(killed)
    photos = library.get("photos")
    assert photos.count == N + 7 * COMMITS + 1
    assert not note(killed).exists()
    assert photos.delete(["i1"]) == [True]
    assert noted(killed) == 1 + COMMITS + 2
    library.close()


@pytest.mark.parametrize("harm", [cut, flip])
@pytest.mark.parametrize("share", [0, 0.3, 0.6, 0.9])
def test_a_damaged_note(folder, caplog, harm, share):
    whole = note(folder).read_bytes()
    note(folder).write_bytes(harm(whole, share))
    library = Collections(folder)
    with caplog.at_level(logging.WARNING):
        photos = library.get("photos")
    assert re.search("photos/acknowledged is damaged", caplog.text)
    assert photos.count == N
    photos.upsert([item("more")])
    library.close()
    assert len(note(folder).read_bytes()) == len(whole) == 16
    assert noted(folder) == 2
    assert _answers_all(folder, N + 1)


def test_a_note_that_is_too_long(folder):
    note(folder).write_bytes(note(folder).read_bytes() * 300)
    library = Collections(folder)
    library.get("photos").upsert([item("more")])
    library.close()
    assert note(folder).stat().st_size == 16


def test_a_note_that_cannot_be_read(folder):
    note(folder).unlink()
    note(folder).mkdir()
    library = Collections(folder)
    with pytest.raises(Unavailable, match="acknowledged cannot be read"):
        library.get("photos")
    note(folder).rmdir()
    assert library.get("photos").count == N
    library.close()


def test_a_lost_number_of_commits_is_counted_anew(folder):
    with sqlite3.connect(database(folder)) as connection:
        assert connection.execute("DELETE FROM commits").rowcount == 1
    connection.close()
    note(folder).unlink()
    library = Collections(folder)
    assert library.get("photos").upsert([item("i0"), item("more")]) == ["skipped", "added"]
    library.close()
    assert noted(folder) == 1
    assert _answers_all(folder, N + 1)


@pytest.mark.parametrize("has_note", [True, False])
def test_a_vacuumed_copy_keeps_its_count(killed, tmp_path, has_note):
    library = Collections(killed)
    library.get("photos").upsert([item("more")])
    library.close()
    with sqlite3.connect(database(killed)) as connection:
        connection.execute("VACUUM INTO ?", (str(tmp_path / "copy.db"),))
    connection.close()
    (tmp_path / "copy.db").rename(database(killed))
    if not has_note:
        note(killed).unlink()
    library = Collections(killed)
    assert library.get("photos").upsert([item("last")]) == ["added"]
    library.close()
    assert noted(killed) == 1 + COMMITS + 3


def test_what_writes_nothing_commits_nothing(folder):
    library = Collections(folder)
    photos = library.get("photos")
    assert photos.upsert([item("i0")]) == ["skipped"]
    assert photos.delete(["none"]) == [False]
    assert log(folder).stat().st_size == 0
    assert noted(folder) == 1
    library.close()


def test_a_note_that_cannot_be_written(folder, monkeypatch):
    library = Collections(folder)
    photos = library.get("photos")
    photos.search(QUERY, 1)
    with monkeypatch.context() as patch:
        patch.setattr("os.fdatasync", _fail)
        with pytest.raises(Unavailable, match="may be stored or not"):
            photos.upsert([item("i0"), item("more")])
    with pytest.raises(Unavailable, match="takes no writes"):
        photos.delete(["i1"])
    assert len(photos.search(QUERY, 100)[0]) == photos.count == N + 1  # it is committed: all answers agree
    library.close()
    assert _answers_all(folder, N + 1)


def _fail(*_):
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("keep", [0, 1, 99, 100, 8192, 0.3, 0.5, 0.9, -8192, -1])
def test_a_cut_file(folder, keep):
    data = database(folder).read_bytes()
    database(folder).write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    faults(folder, "cut short|malformed")


@pytest.mark.parametrize(("share", "is_lossy"), [(0.3, True), (0.6, True), (0.95, False)])
def test_a_file_cut_beside_a_log_that_is_not_folded_in(folder, tmp_path, share, is_lossy):
    library = Collections(folder)
    library.get("photos").upsert([item("i0"), item("more")])
    after_a_crash = tmp_path / "copy"
    shutil.copytree(folder, after_a_crash)
    library.close()
    file = database(after_a_crash)
    assert file.with_name("collection.db-wal").stat().st_size > 0
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    assert _answers(after_a_crash, "more") == is_lossy  # the log still has the last pages


def test_a_lost_file(folder):
    database(folder).unlink()
    faults(folder, "missing")


def test_a_newer_format(folder):
    data = bytearray(database(folder).read_bytes())
    data[60:64] = (3).to_bytes(4, "big")
    database(folder).write_bytes(data)
    faults(folder, "format 3")


def test_a_foreign_database(folder):
    database(folder).unlink()
    with sqlite3.connect(database(folder)) as connection:
        connection.execute("PRAGMA page_size=8192")
        connection.execute("CREATE TABLE items (id)")
    connection.close()
    faults(folder, "not a collection")


def test_a_file_that_is_no_database(folder):
    database(folder).write_text("not a database" * 1000)
    faults(folder, "not a collection")


def test_flipped_bits_never_give_a_wrong_answer(folder, tmp_path, caplog):
    data, rng = database(folder).read_bytes(), random.Random(11)
    n_noticed = 0
    for trial in range(120):
        copy = tmp_path / f"flip{trial}"
        (copy / "photos").mkdir(parents=True)
        flipped, bit = bytearray(data), rng.randrange(len(data) * 8)
        flipped[bit // 8] ^= 1 << bit % 8
        (copy / "photos" / "collection.db").write_bytes(flipped)
        shutil.copy(note(folder), note(copy))
        n_noticed += _answers(copy)
        shutil.rmtree(copy)
    assert n_noticed > 5


def _answers(folder, *more):
    """Check all that a damaged library says; return whether it noticed."""
    library, names = Collections(folder), [*(f"i{n}" for n in range(N)), *more]
    try:
        photos = library.get("photos")
        found = photos.get(names, True)
        intact = {n for n, row in zip(names, found, strict=True) if not isinstance(row, Fc7Error)}
        assert all(isinstance(row, DataLoss) or is_true(row, name) for row, name in zip(found, names, strict=True))
        page, rest = photos.page(0, 1000, True)
        assert rest is None
        assert [row.id for row in page] == [name for name in names if name in intact]
        hits = photos.search(QUERY, 100)[0]
        assert {hit.id for hit in hits} == intact
        assert all(hit.score == pytest.approx(cosine(hit.id), abs=1e-6) for hit in hits)
        assert all(hit.payload == {"name": hit.id} for hit in hits)
        features, labels, *_ = photos.labelled_features("name", len(names))
        assert set(labels) >= intact  # a walk may still reach a row that a damaged tree hides from a look-up
        assert all(np.array_equal(row, item(name).vector) for row, name in zip(features, labels, strict=True))
    except DataLoss:
        return True
    finally:
        library.close()
    return len(intact) < len(names)


def test_a_broken_row_is_named_left_out_and_repaired(folder, caplog):
    data = database(folder).read_bytes()
    blob = item("i7").vector.astype(np.float16).tobytes()
    assert data.count(blob) == 1
    at = data.index(blob)
    database(folder).write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    library = Collections(folder)
    photos = library.get("photos")
    (found,) = photos.get(["i7"])
    assert isinstance(found, DataLoss)
    assert "'i7'" in found.message
    assert photos.damaged_ids == ["i7"]
    with caplog.at_level(logging.WARNING):
        hits = photos.search(QUERY, 100)[0]
    assert len(hits) == N - 1
    assert "'i7'" in caplog.text
    assert photos.upsert([item("i7")]) == ["replaced"]
    assert is_true(photos.get(["i7"], True)[0], "i7")
    assert len(photos.search(QUERY, 100)[0]) == N == photos.count
    assert photos.damaged_ids == []
    library.close()


def test_a_row_that_breaks_while_it_is_served(folder, caplog):
    library = Collections(folder)
    photos = library.get("photos")
    names = [hit.id for hit in photos.search(QUERY, 3)[0]]
    photos._store._writer.connection.execute("UPDATE items SET crc = crc + 1 WHERE id = ?", (names[0],))
    after = [hit.id for hit in photos.search(QUERY, 3)[0]]
    assert after[:2] == names[1:]
    assert len(after) == 3
    assert "checksum" in caplog.text
    library.close()


def test_a_full_disk(folder):
    library = Collections(folder)
    photos = library.get("photos")
    photos.search(QUERY, 1)
    pages = photos._store._writer.connection.execute("PRAGMA page_count").fetchone()[0]
    photos._store._writer.connection.execute(f"PRAGMA max_page_count={pages + 2}")
    many = [item(f"more{n}") for n in range(1000)]
    with pytest.raises(ResourceExhausted, match="disk is full"):
        photos.upsert(many)
    assert photos.count == N
    assert all(isinstance(row, Fc7Error) for row in photos.get([row.id for row in many]))
    assert len(photos.search(QUERY, 5000)[0]) == N
    photos._store._writer.connection.execute("PRAGMA max_page_count=100000")
    assert photos.upsert(many) == ["added"] * 1000
    library.close()
    library = Collections(folder)
    assert len(library.get("photos").search(QUERY, 5000)[0]) == N + 1000
    library.close()


class _FailingDisk:
    """A connection whose COMMIT fails as when fsync does."""

    def __init__(self, connection):
        self._connection = connection

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, sql, *values):
        if sql == "COMMIT":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return self._connection.execute(sql, *values)


def test_a_failing_disk_is_not_written_again(folder):
    library = Collections(folder)
    photos = library.get("photos")
    connection = photos._store._writer.connection
    photos._store._writer.connection = _FailingDisk(connection)
    with pytest.raises(Unavailable, match="disk I/O error"):
        photos.upsert([item("more")])
    photos._store._writer.connection = connection
    for write in (lambda: photos.upsert([item("more")]), lambda: photos.delete(["i1"])):
        with pytest.raises(Unavailable, match="takes no writes"):
            write()
    assert len(photos.search(QUERY, 100)[0]) == photos.count == N
    library.close()
    library = Collections(folder)
    assert library.get("photos").upsert([item("more")]) == ["added"]
    library.close()


def test_what_cannot_be_opened_now_is_not_set_aside(folder):
    in_the_way = log(folder)
    in_the_way.mkdir()
    library = Collections(folder)
    with pytest.raises(Unavailable, match="unable to open"):
        library.get("photos")
    in_the_way.rmdir()
    assert library.get("photos").count == N
    library.close()


def test_damage_is_found_by_reading_all(folder):
    with sqlite3.connect(database(folder)) as connection:
        connection.execute("UPDATE items SET payload = '{}' WHERE id = 'i3'")
        connection.execute("UPDATE vectors SET crc = crc + 1 WHERE rid = 6")
    connection.close()
    library = Collections(folder)
    photos = library.get("photos")
    assert photos.damaged_ids == []  # nobody looked
    photos.find_damage()
    assert photos.damaged_ids == ["i3", "i5"]
    photos.delete(["i3"])
    assert photos.damaged_ids == ["i5"]
    library.close()


def test_a_vector_of_another_row_is_noticed(folder):
    with sqlite3.connect(database(folder)) as connection:
        connection.execute("UPDATE vectors SET rid = -rid WHERE rid IN (3, 4)")
        connection.execute("UPDATE vectors SET rid = 7 + rid WHERE rid < 0")
    connection.close()
    library = Collections(folder)
    found = library.get("photos").get(["i2", "i3"], True)
    assert all(isinstance(one, DataLoss) for one in found)
    library.close()


def test_an_index_may_be_added_without_a_new_format(folder):
    with sqlite3.connect(database(folder)) as connection:
        connection.execute("CREATE INDEX by_content ON items (content)")
    connection.close()
    assert _answers_all(folder, N)


def test_the_libraries_that_wrote_are_recorded(folder):
    for name, versions in (("a", {"numpy": "1.0"}), ("b", {"numpy": "1.0"}), ("c", {"numpy": "2.0"})):
        library = Collections(folder, versions=versions)
        library.get("photos").upsert([item("i0")])  # nothing is written
        library.get("photos").upsert([item(name)])
        library.get("photos").upsert([item(name * 2)])
        assert library.get("photos").versions() == versions
        library.close()
    with sqlite3.connect(database(folder)) as connection:
        found = connection.execute("SELECT since_commit, text FROM versions").fetchall()
    connection.close()
    assert found == [(2, '{"numpy": "1.0"}'), (6, '{"numpy": "2.0"}')]


def test_it_writes_as_it_says(folder):
    library = Collections(folder)
    run = library.get("photos")._store._writer.connection.execute
    assert run("PRAGMA journal_mode").fetchone()[0] == b"wal"
    assert run("PRAGMA synchronous").fetchone()[0] == 2
    assert run("PRAGMA page_size").fetchone()[0] == 8192
    with (
        library.get("photos")._store._readers.reading() as reader,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        reader.execute("DELETE FROM items")
    library.close()
