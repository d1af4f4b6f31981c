"""Many connections, many collections, few files; and a server that is told to end, or whose log nobody reads."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import fc7
from doors import holder_of
from fc7_service import resource_limits
from fc7_service.bundle.folder import open_bundle
from fc7_service.collections.collection import Collection
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item
from fc7_service.collections.searcher import Searcher
from fc7_service.private_socket import make_socket_folder
from fc7_service.resource_limits import share_files
from servers import WAIT_S, clean_environment, jpeg, serve_command, serving

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"  # an HTTP/2 client's first words, and settings


@contextmanager
def limited(n_files: int) -> Iterator[None]:
    """Start processes in the block with the right to few files."""
    with pytest.MonkeyPatch.context() as patched:
        popen = subprocess.Popen

        def start(command: list[str], **options: object) -> subprocess.Popen[str]:
            return popen(["/bin/sh", "-c", f'ulimit -n {n_files}; exec "$@"', "sh", *command], **options)  # type: ignore[call-overload, no-any-return]

        patched.setattr(subprocess, "Popen", start)
        yield


@contextmanager
def connections(address: str, n: int, words: bytes) -> Iterator[list[socket.socket]]:
    """Hold ``n`` connections on which nothing but ``words`` is ever said."""
    host, port = address.split(":")
    with contextlib.ExitStack() as stack:
        held = []
        for _ in range(n):
            held.append(stack.enter_context(socket.create_connection((host, int(port)), 20)))
            with contextlib.suppress(OSError):
                held[-1].sendall(words)
        yield held


@pytest.mark.parametrize("words", [b"", PREFACE], ids=["silent", "idle"])
def test_more_connections_than_files_harm_no_other_for_longer_than_they_last(
    tiny_bundle: Path, tmp_path: Path, words: bytes
) -> None:
    with limited(256), serving(tmp_path, "--model", str(tiny_bundle)) as served:
        with fc7.connect(data=tmp_path) as private, fc7.connect(served.address) as before:
            photos = private.create_collection("photos")
            before.models()
            with connections(served.address, 400, words):
                for client in (
                    private,
                    before,
                ):  # who is there already goes on, and so does whoever has the private door
                    collection = client.collection("photos")
                    assert all(row.error is None for row in collection.add([jpeg(1), jpeg(2)], ids=["a", "b"]))
                    assert len(collection.search(jpeg(1), k=1)) == 1
                private.train_head("kind", images=[jpeg(i) for i in range(4)], labels=["x", "y"] * 2)
                for i in range(20):
                    private.create_collection(f"c{i}")
            with fc7.connect(served.address) as after:
                assert len(after.collections()) == 21
            assert photos.add([jpeg(3)], ids=["c"])[0].error is None
        assert served.stop() == 0


def test_idle_connections_do_not_hold_up_the_end(tiny_bundle: Path, tmp_path: Path) -> None:
    with serving(tmp_path, "--model", str(tiny_bundle)) as served, connections(served.address, 200, PREFACE):
        start = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - start < 10  # seen: 1 s; 20.6 s where each had to say that it leaves


def test_an_idle_client_may_take_leave(tiny_bundle: Path, tmp_path: Path) -> None:
    goaway, ping, acknowledged = 7, 6, b"\x01"
    with (
        serving(tmp_path, "--model", str(tiny_bundle)) as served,
        connections(served.address, 1, PREFACE) as (idle,),
        idle.makefile("rb") as words,
    ):
        idle.settimeout(WAIT_S)
        served.process.terminate()
        reasons = []
        while len(head := words.read(9)) == 9:
            body = words.read(int.from_bytes(head[:3], "big"))
            if head[3] == goaway:
                reasons.append(int.from_bytes(body[4:8], "big"))
            if head[3] == ping and reasons:  # "have you seen that I leave?"
                assert not select.select([idle], [], [], 0.3)[0]  # a client that is slow to answer is not cut off
                idle.sendall(head[:4] + acknowledged + head[5:] + body)
        assert reasons
        assert set(reasons) == {0}  # no error: of any other, gRPC clients print a line
        assert served.process.wait(WAIT_S) == 0


def test_idle_connections_are_closed(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = resource_limits.server_options

    def impatient(n_connections: int) -> tuple[tuple[str, object], ...]:
        return tuple(dict(real(n_connections), **{"grpc.max_connection_idle_ms": 300}).items())

    monkeypatch.setattr("fc7_service.listener.server_options", impatient)
    assert dict(real(1))["grpc.max_connection_idle_ms"] <= 600_000
    with fc7.connect(data=tmp_path, models=[str(tiny_bundle)]) as client:
        idle = socket.socket(socket.AF_UNIX)
        idle.settimeout(30)
        with idle:
            idle.connect(holder_of(tmp_path).address.removeprefix("unix:"))
            idle.sendall(PREFACE)
            while idle.recv(4096):
                pass
        assert client.models()  # a client that was idle for as long connects again


@pytest.mark.parametrize(
    ("n_files", "n_connections", "n_collections"), [(64, 16, 4), (256, 48, 16), (1024, 240, 64), (65536, 4096, 64)]
)
def test_files_are_shared_out(n_files: int, n_connections: int, n_collections: int) -> None:
    files = share_files(n_files)
    assert (files.n_connections, files.n_collections) == (n_connections, n_collections)
    if n_files > 64:
        assert 2 * files.n_connections + 6 * files.n_collections <= n_files - 64


def test_many_collections_stay_whole_with_few_files(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    library = Collections(tmp_path / "collections")
    library.create("c000", bundle.provenance("fc7"), 8)
    library.close()
    for i in range(1, 300):
        shutil.copytree(tmp_path / "collections" / "c000", tmp_path / "collections" / f"c{i:03}")
    with limited(1024), serving(tmp_path, "--model", str(tiny_bundle)) as served:
        with fc7.connect(served.address) as client:
            for _ in range(2):
                listed = client.collections()
                assert [c.name for c in listed] == [f"c{i:03}" for i in range(300)]
                assert not any(c.fault for c in listed)
            added = [client.collection(f"c{i:03}").add([jpeg(i)], ids=["a"])[0] for i in range(0, 300, 3)]
            assert all(row.error is None for row in added)
            assert sum(c.count for c in client.collections()) == 100
            assert all(len(client.collection(f"c{i:03}").search(jpeg(i), k=1)) == 1 for i in range(0, 300, 30))
        assert len(os.listdir(f"/proc/{served.process.pid}/fd")) < 600


def test_a_collection_that_cannot_be_closed_holds_up_no_other(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    provenance = open_bundle(tiny_bundle).provenance("fc7")
    library = Collections(tmp_path, most_open=2)
    close, closed = Collection.close, []

    def fail(self: Collection) -> None:
        close(self)
        closed.append(self.name)
        if self.name == "c0":
            raise OSError("no")

    monkeypatch.setattr(Collection, "close", fail)
    for i in range(4):
        library.create(f"c{i}", provenance, 8)
    assert closed == ["c0", "c1"]
    assert "'c0' could not be closed" in caplog.text
    assert [summary.name for summary in library.list()] == ["c0", "c1", "c2", "c3"]
    library.get("c0")
    with pytest.raises(OSError, match="no"):
        library.close()
    assert sorted(closed) == ["c0", "c0", "c1", "c2", "c3"]


def test_a_collection_is_not_closed_while_its_index_is_rebuilt(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provenance = open_bundle(tiny_bundle).provenance("fc7")
    monkeypatch.setattr("fc7_service.collections.snapshot._STALE_ROWS", 1)
    library = Collections(tmp_path, most_open=1)
    slow, go_on, rebuild = library.create("slow", provenance, 8), threading.Event(), Searcher._rebuild
    rows = [Item(str(i), "", {}, np.ones(8, np.float32)) for i in range(9)]
    slow.search(np.ones((1, 8), np.float32), 1)
    monkeypatch.setattr(Searcher, "_rebuild", lambda self: (go_on.wait(WAIT_S), rebuild(self)))
    slow.upsert(rows)
    assert slow.is_rebuilding
    library.create("other", provenance, 8)  # would wait for ever if it closed the first one
    assert library.get("slow") is slow
    go_on.set()
    slow._searcher.wait_for_rebuild()
    library.get("other")
    assert library.get("slow") is not slow
    library.close()


def test_what_is_in_use_is_never_closed_and_nothing_is_lost(tiny_bundle: Path, tmp_path: Path) -> None:
    """Threads that write to, read from and list more collections than may be open."""
    bundle = open_bundle(tiny_bundle)
    library = Collections(tmp_path, most_open=3)
    names = [f"c{i}" for i in range(8)]
    for name in names:
        library.create(name, bundle.provenance("fc7"), 8)
    errors: list[BaseException] = []

    def work(k: int) -> None:
        try:
            for i in range(40):
                with library.use(names[(i + k) % len(names)]) as collection:
                    assert collection.upsert([Item(f"{k}-{i}", "", {}, np.ones(8, np.float32))]) == ["added"]
                    assert collection.get([f"{k}-{i}"])[0].id == f"{k}-{i}"
                assert len(library.list()) == len(names)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    library.get(names[0])
    assert len(library._open) <= 3
    library.close()
    again = Collections(tmp_path)
    assert sum(summary.count for summary in again.list()) == 240
    again.close()


def start(data: Path, *args: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        serve_command(data, *args),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment() | environment,
    )


def test_a_server_whose_log_nobody_reads_goes_on_and_ends(tiny_bundle: Path, tmp_path: Path) -> None:
    process = start(tmp_path, "--model", str(tiny_bundle))
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().split()[-1]
        with fc7.connect(address, timeout_s=30) as client:
            for i in range(700):  # three pipes full of lines
                with pytest.raises(fc7.NotFound):
                    client.collection(f"no{i}")
        process.terminate()
        assert process.wait(30) == 0
        assert '"request"' in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def test_lines_that_were_dropped_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    from fc7_service import log

    monkeypatch.setattr(log, "_MOST_LINES", 2)
    go_on, written = threading.Event(), []

    def write(line: str) -> None:
        assert go_on.wait(30)
        written.append(line)

    monkeypatch.setattr(log, "_write_line", write)
    made = log.JsonLog()
    for i in range(10):
        made("request", i=i)
    go_on.set()
    deadline = time.monotonic() + 30
    while not any('"dropped"' in line for line in written):
        assert time.monotonic() < deadline
    made.close()
    n_kept = sum('"request"' in line for line in written)
    (told,) = (line for line in written if '"dropped"' in line)
    assert f'"dropped": {10 - n_kept}' in told


def test_a_warning_that_cannot_be_formatted_is_logged_and_does_not_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    import logging

    from fc7_service import log

    written: list[str] = []
    monkeypatch.setattr(log, "_write_line", written.append)
    made = log.JsonLog()
    record = logging.LogRecord("some.library", logging.WARNING, "", 1, "%d items", ("many",), None)
    made._handler.handle(record)
    made.close()
    (line,) = written
    assert "'%d items' with arguments that do not fit it" in line
    assert '"logger": "some.library"' in line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_drains_and_leaves_no_trace(tiny_bundle: Path, tmp_path: Path, number: signal.Signals) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:  # under `nohup`, the server would ignore it too
        signal.signal(number, signal.SIG_DFL)
    with serving(tmp_path, "--model", str(tiny_bundle)) as served:
        assert (tmp_path / "holder.json").exists()
        served.process.send_signal(number)
        assert served.process.wait(30) == 0
        assert not (tmp_path / "holder.json").exists()


def test_a_signal_during_the_warm_up_ends_it(tiny_bundle: Path, tmp_path: Path) -> None:
    """Sixty networks take seconds to warm; it never says that it listens."""
    import json

    models: list[str] = []
    for i in range(60):
        folder = Path(shutil.copytree(tiny_bundle, tmp_path / f"b{i}"))
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | {"name": f"m{i}"}))
        models += ["--model", str(folder)]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = start(tmp_path / "data", *models, "--listen", f"127.0.0.1:{port}")
    try:
        deadline = time.monotonic() + 60
        while True:  # the port is bound before the warm-up, and answers after it
            with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port)):
                break
            assert time.monotonic() < deadline
            assert process.poll() is None
        process.terminate()
        output, _ = process.communicate(timeout=30)
        assert (output, process.returncode) == ("", 0)
    finally:
        process.kill()
        process.communicate()
    assert not (tmp_path / "data" / "holder.json").exists()


@pytest.mark.parametrize("name", ["x" * 120, "with space", "per%41cent", "qu?stion#"])
def test_any_folder_of_temporary_files_will_do(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
    assert make_socket_folder(lambda _: None) is None
    assert not list((tmp_path / name).iterdir())
    with fc7.connect(data=tmp_path / "data", models=[str(tiny_bundle)]) as client:
        assert client.extract(jpeg(1)).values.shape == (1, 8)
    environment = clean_environment() | {"TMPDIR": str(tmp_path / name)}
    command = [sys.executable, "-m", "fc7", "model", "list", "--data", str(tmp_path / "data")]
    subprocess.run(command, env=environment, check=True, capture_output=True)


def test_no_folder_of_temporary_files_will_do_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert make_socket_folder(lambda _: None) is None
