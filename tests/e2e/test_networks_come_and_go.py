"""Networks are loaded, reloaded and unloaded on a real server, while callers go on."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import fc7
from fc7_service.bundle.folder import open_bundle
from fc7_service.bundle.golden import read_golden
from servers import Served, clean_environment, jpeg, serving
from tiny import make_tiny_bundle

LAYER = "fc7"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two networks called "tiny"."""
    folder = tmp_path_factory.mktemp("bundles")
    return [make_tiny_bundle(folder / f"tiny{seed}", seed=seed).path for seed in (0, 1)]


@pytest.fixture
def served(folders: list[Path], tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "data", "--model", str(folders[0])) as served:
        yield served


@contextmanager
def callers(address: str, folders: list[Path], n: int) -> Iterator[dict[str, int]]:
    """Let callers extract one after the other; yield how many answers came from each graph."""
    golden = {open_bundle(folder).graph_sha256: read_golden(open_bundle(folder)) for folder in folders}
    counts, failures, is_over = dict.fromkeys(golden, 0), list[str](), threading.Event()
    pixels = next(iter(golden.values())).pixels
    wanted = {graph: expected(folder, pixels[0]) for graph, folder in zip(golden, folders, strict=True)}

    def call() -> None:
        with fc7.connect(address) as client:
            while not is_over.is_set():
                try:
                    found = client.extract([pixels[0]], layer=LAYER)
                    np.testing.assert_allclose(found.values[0], wanted[found.provenance.graph_sha256], rtol=1e-4)
                    counts[found.provenance.graph_sha256] += 1
                except Exception as error:
                    failures.append(repr(error))

    threads = [threading.Thread(target=call) for _ in range(n)]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert failures == []


def expected(folder: Path, pixels: np.ndarray) -> np.ndarray:
    with fc7.connect(data=folder.parent / f"{folder.name}-data", models=[str(folder)]) as client:
        return client.extract([pixels], layer=LAYER).values[0]


def test_no_call_fails_while_networks_are_switched(folders: list[Path], tmp_path: Path) -> None:
    graphs = [open_bundle(folder).graph_sha256 for folder in folders]
    with serving(tmp_path / "data", "--model", str(folders[0])) as served:
        with callers(served.address, folders, 4) as counts, fc7.connect(served.address) as client:
            for turn in range(10):
                graph, before = graphs[(turn + 1) % 2], dict(counts)
                done = client.reload_model("tiny", folders[(turn + 1) % 2])
                assert (done.model.version, done.old_version, done.running_calls) == (turn + 2, turn + 1, 0)
                while counts[graph] == before[graph]:  # until callers have met the new one
                    assert client.extract([jpeg(1)]).provenance.graph_sha256 == graph
        assert served.stop() == 0
    rows = [row for row in map(json.loads, served.log) if row["event"] == "request"]
    assert {row["code"] for row in rows} == {"OK"}
    assert sum(row["method"].endswith("/Extract") for row in rows) >= sum(counts.values()) >= 10


def test_a_stream_ends_with_the_network_it_began_with(served: Served, folders: list[Path]) -> None:
    image = jpeg(0)
    with fc7.connect(served.address) as client:
        wanted = client.extract([image], layer=LAYER)
        goes_on = threading.Event()

        def images() -> Iterator[bytes]:
            yield image
            goes_on.wait()
            yield image

        stream = client.extract_stream(images(), layer=LAYER)
        first = next(stream)
        done = client.reload_model("tiny", folders[1])
        assert done.running_calls == 1
        assert [model.running_calls for model in client.models()] == [0]
        goes_on.set()
        (second,) = stream
        np.testing.assert_array_equal(first, second)
        assert stream.provenance == wanted.provenance
        assert client.extract([image], layer=LAYER).provenance.graph_sha256 == open_bundle(folders[1]).graph_sha256


def test_a_collection_stays_with_its_network(served: Served, folders: list[Path]) -> None:
    with fc7.connect(served.address) as client:
        photos = client.create_collection("photos", layer=LAYER)
        photos.add([jpeg(0), jpeg(1)], ids=["a", "b"])
        client.reload_model("tiny", folders[1])
        with pytest.raises(fc7.FailedPrecondition, match="no model of this server has it"):
            photos.search(jpeg(0))
        kept = client.load_model(folders[0])
        assert (kept.name, kept.version) == ("tiny:3", 3)
        assert [hit.id for hit in photos.search(jpeg(0), k=1)] == ["a"]
        photos.add([jpeg(2)], ids=["c"])
        assert client.unload_model("tiny:3") == 0
        with pytest.raises(fc7.FailedPrecondition, match="no model of this server has it"):
            photos.add([jpeg(3)], ids=["d"])


def test_explanations_follow_the_switch(served: Served, folders: list[Path]) -> None:
    with fc7.connect(served.address) as client:
        old = client.explain.occlude(jpeg(0), grid=3)
        client.reload_model("tiny", folders[1])
        new = client.explain.occlude(jpeg(0), grid=3)
        assert not np.allclose(old.probabilities, new.probabilities)


async def test_both_clients_do_the_same(served: Served, folders: list[Path]) -> None:
    async with fc7.AsyncClient(served.address) as client:
        loaded = await client.load_model(folders[1], default=True)
        assert (loaded.name, loaded.version) == ("tiny", 2)
        assert [model.name for model in await client.models()] == ["tiny", "tiny:1"]
        assert (await client.reload_model("tiny:1", keep_old=True)).model.version == 3
        assert await client.unload_model("tiny:3") == 0
        with pytest.raises(fc7.FailedPrecondition) as caught:
            await client.unload_model("tiny")
        assert caught.value.reason == "MODEL_IS_DEFAULT"


def fc7_command(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fc7", *args]
    return subprocess.run(command, capture_output=True, text=True, env=clean_environment(), check=False)


def test_the_command(served: Served, folders: list[Path], tmp_path: Path) -> None:
    there = ["--server", served.address]
    done = fc7_command("model", "load", str(folders[1]), "--json", *there)
    assert (done.returncode, done.stderr) == (0, "")
    loaded = json.loads(done.stdout)
    assert (loaded["name"], loaded["version"]) == ("tiny:2", 2)
    done = fc7_command("model", "reload", "tiny", "--bundle", str(folders[1]), "--json", *there)
    assert json.loads(done.stdout)["old_version"] == 1
    assert fc7_command("model", "reload", *there).stdout.endswith("replaces version 3\n")
    listed = [json.loads(line) for line in fc7_command("model", "list", "--json", *there).stdout.splitlines()]
    assert [(row["name"], row["version"]) for row in listed] == [("tiny", 4), ("tiny:2", 2)]
    done = fc7_command("model", "unload", "tiny:2", "--json", *there)
    assert json.loads(done.stdout) == {"name": "tiny:2", "running_calls": 0}
    done = fc7_command("model", "unload", "tiny", *there)
    assert (done.returncode, done.stdout) == (4, "")
    assert "model 'tiny' is the default model" in done.stderr
    done = fc7_command("model", "load", str(folders[0]), "--data", str(tmp_path / "nobody"))
    assert done.returncode == 4
    assert "no server is running that could keep the model" in done.stderr
