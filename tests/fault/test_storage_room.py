"""No room on the disk, and no file left to open: both pass, and neither harms a collection."""

# ruff: noqa: F811  # fixtures of another file

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sqlite3
import sys

import pytest
from test_storage import COMMITS, QUERY, N, _answers_all, folder, item, killed, killed_once, log, noted  # noqa: F401
from test_storage import note as noted_file

from fc7.errors import ResourceExhausted, Unavailable
from fc7_service.collections import store_writer
from fc7_service.collections.database import connect
from fc7_service.collections.registry import Collections


@contextlib.contextmanager
def no_file_left():
    """Let this process open no more files."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    n_open = 1 + max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (n_open, limits[1]))
    taken = []
    try:
        while True:
            try:
                taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_full_disk_at_the_acknowledgement_passes(folder, monkeypatch, is_first):
    """The commit is stored; only the file beside the database lacks room."""
    library = Collections(folder)
    photos = library.get("photos")
    if is_first:
        noted_file(folder).unlink()
        photos._store._writer._commits._acknowledged = 0
    with monkeypatch.context() as full:
        full.setattr("fc7_service.collections.commit_counter.open", refuse_for_room, raising=False)
        with pytest.raises(ResourceExhausted, match=r"disk is full.*is stored but not acknowledged") as refused:
            photos.upsert([item("more")])
        assert refused.value.reason == "DISK_FULL"
    assert photos.upsert([item("more"), item("last")]) == ["skipped", "added"]
    assert noted(folder) == 1 + 2
    library.close()
    assert _answers_all(folder, N + 2)


def refuse_for_room(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files in /proc")
def test_running_out_of_files_is_no_failed_disk(folder):
    library = Collections(folder)
    photos = library.get("photos")
    photos.search(QUERY, 1)
    with no_file_left():
        with pytest.raises(Unavailable, match="repeat the call") as refused:
            photos.upsert([item("more")])
        assert refused.value.reason == "TOO_MANY_FILES"
    assert photos.upsert([item("more"), item("last")]) == ["skipped", "added"]
    assert noted(folder) == 1 + 2
    assert photos.delete(["i0"]) == [True]
    library.close()
    assert _answers_all(folder, N + 1)


def test_a_collection_left_by_a_killed_writer_is_read_on_a_full_disk(killed, monkeypatch):
    """Folding the log in needs space; reading needs none."""

    class FullDisk:
        def __init__(self, connection):
            self._connection = connection

        def __getattr__(self, name):
            return getattr(self._connection, name)

        def execute(self, sql, *values):
            if sql.startswith(("PRAGMA wal_checkpoint", "INSERT")):
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
            return self._connection.execute(sql, *values)

        def executemany(self, sql, values):
            for row in values:
                self.execute(sql, row)

    before = log(killed).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(store_writer, "connect", lambda path, mode: FullDisk(connect(path, mode)))
        library = Collections(killed)
        photos = library.get("photos")
        assert photos.count == len(photos.search(QUERY, 10**6)[0]) == N + 7 * COMMITS + 1
        with pytest.raises(ResourceExhausted, match="disk is full"):
            photos.upsert([item("more")])
        assert log(killed).read_bytes() == before
        assert photos.count == N + 7 * COMMITS + 1
        library.close()
    library = Collections(killed)
    assert library.get("photos").upsert([item("more")]) == ["added"]
    library.close()
    assert _answers_all(killed, N + 7 * COMMITS + 2)
