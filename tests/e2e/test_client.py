"""One server, three ways to it: embedded, remote and awaited give the same answers. And a holder that ends."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fc7
from fc7_service import local
from fc7_service.data_folder import DataFolder
from servers import WAIT_S, jpeg, serving

PX = 24


def pictures() -> list[np.ndarray]:
    """Return 90 pictures of two kinds, bright above or bright below, seed fixed."""
    rng = np.random.default_rng(5)
    images = rng.integers(0, 100, (90, PX, PX, 3), dtype=np.uint8)
    images[::2, : PX // 2] += 150
    images[1::2, PX // 2 :] += 150
    return list(images)


LABELS = ["above", "below"] * 45


class Serve:
    """A real `fc7 serve`."""

    def __init__(self, data: Path, bundle: Path) -> None:
        command = [sys.executable, "-m", "fc7", "serve", "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            [*command, "--data", str(data), "--model", str(bundle)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().removeprefix("listening on ").strip()
        assert self.address

    def __enter__(self) -> Serve:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()


async def tour(client: Any, folder: Path) -> dict[str, Any]:
    """Use every method of a client, awaiting what has to be awaited; return what came back."""

    async def got(value: Any) -> Any:
        if hasattr(value, "__aiter__"):
            return [one async for one in value]
        return list(value) if inspect.isgenerator(value) else await value if inspect.isawaitable(value) else value

    images = pictures()
    good, broken = folder / "good.png", folder / "broken.png"
    answers: dict[str, Any] = {"ready": await got(client.is_ready())}
    info = await got(client.server_info())
    assert (info.running_calls["AdminService/GetServerInfo"], info.training, info.building) == (1, [], [])
    answers["info"] = (info.version, info.libraries, info.device, info.models, info.max_message_bytes)
    answers["models"] = [model.layers for model in await got(client.models())]
    golden = await got(client.golden())
    answers["golden"] = [golden.pixels, golden.inputs, *golden.layers.values()]
    features = await got(client.extract([*images, good, broken], layer="fc6", on_error="skip"))
    answers["features"] = (features.values, features.rows, features.provenance, str(features.failed))
    answers["model"] = await got(client.model("tiny"))  # now that it was used, with its provider
    answers["stream"] = [getattr(a, "message", a) for a in await got(client.extract_stream([images[0], broken, good]))]
    photos = await got(client.create_collection("photos", metric="l2"))
    payloads = [{"label": label} for label in LABELS]
    answers["added"] = await got(photos.add(images, ids=map(str, range(90)), payloads=payloads))
    answers["path"] = str(await got(photos.add([good, broken, folder / "gone.png"], root=folder.parent)))
    changed = [{"label": "above"}, {"label": "below", "n": 1}]
    counts = [photos.count]
    answers["again"] = await got(photos.add(images[:2], ids=["0", "1"], payloads=changed))
    vectors = await got(client.extract(images[:3]))
    answers["vectors"] = await got(photos.add_vectors(vectors, ["v0", "v1", "v2"]))
    counts.append(photos.count)
    now = await got(client.collection("photos"))
    assert (counts[0] + 3, photos.count) == (now.count, now.count)
    answers["facts"] = (now.name, now.count, now.provenance, now.metric, now.dim, now.index, now.fault)
    answers["search"] = [
        [hit.id for hit in await got(photos.search(images[4], k=5))],
        [hit.id for hit in await got(photos.search(id="4", k=5))],
        [hit.id for hit in await got(photos.search(features=vectors[1], k=5))],
        [
            str(a) if isinstance(a, fc7.Fc7Error) else a[0].id
            for a in await got(photos.search_many([good, broken], k=1))
        ],
    ]
    many = [await got(photos.search_many(features=vectors, k=2)), await got(photos.search_many(ids=["4", "5"], k=2))]
    answers["many"] = [[hit.id for hit in found] for answer in many for found in answer]
    answers["get"] = str(await got(photos.get(["v1", "nobody"])))
    items = await got(photos.items(with_features=True))
    answers["items"] = ([(item.id, item.payload, item.content_sha256) for item in items], [i.feature for i in items])
    answers["removed"] = str(await got(photos.remove(["v0", "v1", "v2", "nobody", folder.name + "/good.png"])))
    head = await got(client.train_head("kind", collection="photos"))
    answers["head"] = (head.version, head.classes, head.count, head.accuracy, head.method, head.weights_sha256)
    other = await got(client.train_head("kind", images=[*images, broken], labels=[*LABELS, "above"]))
    answers["other head"] = (other.version, other.count, str(other.failed), other.parent_version)
    about = await got(client.head_report("kind", 1))
    answers["report"] = (
        about.head.source,
        len(about.rows),
        about.measures,
        about.curve,
        [row.id for row in about.rows],
    )
    assert about.evaluate().accuracy == pytest.approx(about.measures.accuracy.value)
    assert about.head.measures == head.measures == about.measures
    of_images = (await got(client.head_report("kind"))).rows
    assert [row.id for row in of_images] == [f"image {i}" for i in range(len(images))]
    kept = await got(client.extract(images))
    on_features = await got(client.train_head("kept", features=kept, labels=LABELS))
    assert (on_features.classes, on_features.provenance) == (["above", "below"], kept.provenance)
    answers["on features"] = (on_features.count, on_features.accuracy, on_features.method)
    stream = client.extract_stream(images[:2])
    assert len([one async for one in stream] if hasattr(stream, "__aiter__") else list(stream)) == 2
    assert stream.provenance == kept.provenance
    await got(client.delete_head("kept", all_versions=True))
    answers["published"] = [(await got(client.publish_head("kind", v))).published_version for v in (1, 2)]
    answers["heads"] = [str(one) for one in await got(client.heads())] + [str(await got(client.head("kind", 1)))]
    answers["versions"] = [(one.version, one.majority_accuracy) for one in await got(client.heads(all_versions=True))]
    assert answers["versions"] == [(1, head.majority_accuracy), (2, other.majority_accuracy)]
    answers["unpublished"] = (await got(client.classify(good, head="kind", head_version=1)))[0].label
    classified = await got(client.classify([*images[:4], broken], head="kind"))
    answers["classes"] = [one.error.message if one.error else one.label for one in classified]
    stored = await got(client.classify_items("photos", head="kind", head_version=1))
    answers["stored"] = [(one.id, one.label, one.error) for one in stored]
    ranked = await got(client.rank_items("photos", "above", head="kind", head_version=1, k=3, where='label = "below"'))
    answers["ranked"] = [(hit.id, hit.payload) for hit in ranked]
    out = folder / f"out-{type(client).__name__}-{id(client)}"
    answers["exported"] = (await got(client.export_head("kind", out, version=1))).version
    assert (out / "model.onnx").stat().st_size > 1000
    answers["suggested"] = str(await got(client.suggest_items("photos", head="kind", label="none", n=3)))
    sets = await got(client.classify(images, head="kind", coverage=0.9))
    answers["sets"] = [one.set for one in sets]
    assert all(one.set[0] == one.top[0] for one in sets)
    answers["refusing"] = [
        await refused(got, lambda: client.publish_head("kind", refuse_unknown=True)),
        await refused(got, lambda: client.classify(good, head="kind", refuse_unknown=True)),
        await refused(got, lambda: client.classify(good, head="kind", coverage=1.5)),
        await refused(got, lambda: client.classify(good, coverage=0.5)),
    ]
    answers["own classes"] = [p for _, p in (await got(client.classify(good, top=3)))[0].top]
    answers["errors"] = [
        await refused(got, lambda: client.extract(images[:1], layer="fc99")),
        await refused(got, lambda: client.model("nobody")),
        await refused(got, lambda: client.create_collection("photos")),
        await refused(got, lambda: client.create_collection("../x")),
        await refused(got, lambda: photos.search(features=features[0])),
        await refused(got, lambda: photos.search(images[0], k=0)),
        await refused(got, lambda: client.classify(good, head="nobody")),
        await refused(got, lambda: client.classify(good, head="kind", head_version=9)),
        await refused(got, lambda: client.classify(good, head_version=1)),
        await refused(got, lambda: client.train_head("one", images=images[:4], labels=["a"] * 4)),
        await refused(got, lambda: client.delete_head("kind", 2)),
    ]
    await got(client.delete_head("kind", 1))
    await got(client.delete_collection("photos"))
    answers["left"] = (await got(client.collections()), [h.version for h in await got(client.heads())])
    return answers


async def refused(got: Any, call: Any) -> tuple[str, str, str]:
    with pytest.raises(fc7.Fc7Error) as caught:
        await got(call())
    return type(caught.value).__name__, caught.value.message, caught.value.name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a good and a broken picture."""
    from PIL import Image

    path = tmp_path / "pictures"
    path.mkdir()
    Image.fromarray(pictures()[7]).save(path / "good.png")
    (path / "broken.png").write_bytes((path / "good.png").read_bytes()[:200])
    return path


def assert_same(one: Any, other: Any, where: str) -> None:
    if isinstance(one, np.ndarray):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5, err_msg=where)
    elif isinstance(one, list | tuple) and not isinstance(one, str):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}[{i}]")
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-4), where
    else:
        assert one == other, where


def test_embedded_remote_and_awaited_answer_alike(tmp_path: Path, tiny_bundle: Path, folder: Path) -> None:
    async def awaited(address: str) -> dict[str, Any]:
        async with fc7.AsyncClient(address) as client:
            return await tour(client, folder)

    with fc7.connect(data=tmp_path / "embedded", models=[str(tiny_bundle)]) as client:
        embedded = asyncio.run(tour(client, folder))
    with Serve(tmp_path / "remote", tiny_bundle) as server, fc7.connect(server.address) as client:
        remote = asyncio.run(tour(client, folder))
    with Serve(tmp_path / "awaited", tiny_bundle) as server:
        third = asyncio.run(awaited(server.address))
    asyncio.run(embedded_awaited(tmp_path, tiny_bundle))
    assert embedded["classes"] == ["above", "below", "above", "below", embedded["classes"][4]]
    assert [kind for kind, _, _ in embedded["errors"]] == [
        "NotFound", "NotFound", "AlreadyExists", "InvalidArgument", "FailedPrecondition", "InvalidArgument", "NotFound",
        "NotFound", "InvalidArgument",
        "InvalidArgument", "FailedPrecondition",
    ]  # fmt: skip
    for key, value in embedded.items():
        assert_same(value, remote[key], f"remote {key}")
        assert_same(value, third[key], f"awaited {key}")


async def embedded_awaited(tmp_path: Path, tiny_bundle: Path) -> None:
    """An AsyncClient without an address: the server of this process, or of the one that holds the folder."""
    folder = tmp_path / "embedded awaited"
    async with fc7.AsyncClient(data=folder, models=[str(tiny_bundle)]) as client:
        assert (await client.server_info()).pid == os.getpid()
        photos = await client.create_collection("c")
        await photos.add(pictures()[:3], ids=["a", "b", "c"])
        assert photos.count == 3
        assert [one.shape async for one in client.extract_stream(pictures()[:2]) if not isinstance(one, fc7.Fc7Error)]
    with Serve(folder, tiny_bundle) as server:  # the folder was given back
        client = fc7.AsyncClient(data=folder, models=[str(tiny_bundle)])  # and without a block
        assert (await client.collection("c")).count == 3
        assert (await client.server_info()).pid == server.process.pid
        server.process.kill()
        server.process.wait()
        await client.delete_collection("c")  # this process takes over
        assert (await client.server_info()).pid == os.getpid()
        await client.close()
    with pytest.raises(fc7.FailedPrecondition, match="closed"):
        await client.models()


@pytest.fixture
def holder(tmp_path: Path, tiny_bundle: Path) -> Iterator[Serve]:
    with Serve(tmp_path / "data", tiny_bundle) as server:
        yield server


def test_two_processes_share_a_data_folder(holder: Serve, tmp_path: Path, tiny_bundle: Path) -> None:
    with (
        fc7.connect(holder.address) as remote,
        fc7.connect(data=tmp_path / "data", models=[str(tiny_bundle)]) as attached,
    ):
        remote.create_collection("c").add(pictures()[:3], ids=["a", "b", "c"])
        assert attached.collection("c").count == 3
        assert attached.server_info().pid == holder.process.pid


def test_a_training_that_breaks_off_leaves_nothing(holder: Serve) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield from pictures()
        raise ZeroDivisionError("the caller's own")

    with fc7.connect(holder.address) as client:
        for _ in range(20):  # the server may see a cut stream as one that ended
            with pytest.raises(ZeroDivisionError):
                client.train_head("kind", images=broken(), labels=[*LABELS, "above"])
        assert client.heads() == []


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_a_holder_that_ends_is_replaced(holder: Serve, tmp_path: Path, tiny_bundle: Path, end: str) -> None:
    with fc7.connect(data=tmp_path / "data", models=[str(tiny_bundle)]) as client:
        collection = client.create_collection("c")
        collection.add(pictures(), ids=map(str, range(90)), payloads=[{"label": label} for label in LABELS])
        getattr(holder.process, end)()
        if end == "terminate":
            assert client.collection("c").count == 90  # asked while it drains
        else:
            holder.process.wait()
        head = client.train_head("kind", collection="c")  # a stream: it is not sent twice
        assert (head.version, head.count) == (1, 90)
        assert collection.search(id="3", k=1)
        assert client.server_info().pid == os.getpid()


def test_a_program_may_end_without_closing(tmp_path: Path, tiny_bundle: Path) -> None:
    where = f"data={str(tmp_path / 'data')!r}, models=[{str(tiny_bundle)!r}]"
    code = f"import fc7; fc7.connect({where}).create_collection('c')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=WAIT_S)
    assert (done.returncode, done.stderr) == (0, "")
    with fc7.connect(data=tmp_path / "data", models=[str(tiny_bundle)]) as client:
        assert [collection.name for collection in client.collections()] == ["c"]


def test_an_embedded_server_without_its_dependencies_names_them(tmp_path: Path) -> None:
    code = f"import sys; sys.modules['filelock'] = None; import fc7; fc7.connect(data={str(tmp_path / 'data')!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=WAIT_S)
    assert "FailedPrecondition: filelock is not installed" in done.stderr
    assert 'pip install "fc7[cpu]"' in done.stderr


def test_calls_that_are_not_idempotent_survive_a_holder_that_ended(tiny_bundle: Path, tmp_path: Path) -> None:
    """The client looks first, then sends once: nothing is created, published or deleted twice."""
    with serving(tmp_path, "--model", str(tiny_bundle)) as served:
        with fc7.connect(data=tmp_path, models=[str(tiny_bundle)]) as client:
            assert client.server_info().pid == served.process.pid
            served.process.kill()
            served.process.wait(20)
            client.create_collection("c")
            client.delete_collection("c")
            assert client.collections() == []


def test_a_holder_that_hangs_is_named(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_PATIENCE_S", 1.0)
    with serving(tmp_path, "--model", str(tiny_bundle)) as served:
        served.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(fc7.FailedPrecondition, match=str(served.process.pid)):
                fc7.connect(data=tmp_path)
        finally:
            served.process.send_signal(signal.SIGCONT)


def test_a_holder_whose_socket_was_removed_is_reached_by_its_address(tiny_bundle: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--model", str(tiny_bundle)):
        remove_socket(tmp_path / "data")
        with fc7.connect(data=tmp_path / "data") as client:
            assert [model.name for model in client.models()] == ["tiny"]


def test_a_data_folder_that_cannot_be_used_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    start = time.monotonic()
    with pytest.raises(fc7.FailedPrecondition, match="cannot be used"):
        fc7.connect(data=tmp_path / "file")
    assert time.monotonic() - start < 10


def test_an_embedded_holder_whose_socket_was_removed_is_named_at_once(tiny_bundle: Path, tmp_path: Path) -> None:
    with fc7.connect(data=tmp_path, models=[str(tiny_bundle)]):
        remove_socket(tmp_path)
        start = time.monotonic()
        with pytest.raises(
            fc7.FailedPrecondition, match=rf"process {os.getpid()} .* was removed, perhaps by a cleaner"
        ):
            fc7.connect(data=tmp_path)
        assert time.monotonic() - start < 15


def remove_socket(data: Path) -> None:
    address = json.loads((data / "holder.json").read_text())["address"]
    shutil.rmtree(Path(address.removeprefix("unix:")).parent)


def test_the_socket_is_touched_so_that_no_cleaner_takes_it(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fc7_service import listener

    monkeypatch.setattr(listener, "_TOUCH_S", 0.01)
    with fc7.connect(data=tmp_path, models=[str(tiny_bundle)]):
        address = json.loads((tmp_path / "holder.json").read_text())["address"]
        path = Path(address.removeprefix("unix:"))
        for old in (path, path.parent):
            os.utime(old, (0, 0))
        deadline = time.monotonic() + 60
        while min(path.stat().st_mtime, path.parent.stat().st_mtime) == 0:
            assert time.monotonic() < deadline


async def test_a_client_closed_during_a_call_says_so(tiny_bundle: Path, tmp_path: Path) -> None:
    with serving(tmp_path, "--model", str(tiny_bundle)) as served:
        client = fc7.AsyncClient(served.address)
        await client.models()
        call = asyncio.ensure_future(client.extract([jpeg(i) for i in range(60)] * 20))
        while not call.done():
            await asyncio.sleep(0)
            if client._session._connection is not None:
                break
        await client.close()
        outcome = (await asyncio.gather(call, return_exceptions=True))[0]
        assert isinstance(outcome, fc7.Unavailable | fc7.FailedPrecondition), outcome


async def test_a_server_whose_start_nobody_awaits_any_more_is_stopped(tiny_bundle: Path, tmp_path: Path) -> None:
    client = fc7.AsyncClient(data=tmp_path, models=[str(tiny_bundle)])
    call = asyncio.ensure_future(client.models())
    while client._session._reached is None:
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await client.close()
    DataFolder(tmp_path).release()  # raises where a server holds it


async def test_a_start_that_a_cancelled_call_began_is_taken_over(tiny_bundle: Path, tmp_path: Path) -> None:
    async with asyncio.timeout(WAIT_S):
        client = fc7.AsyncClient(data=tmp_path, models=[str(tiny_bundle)])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await client.models()
        assert (await client.server_info()).pid == os.getpid()
        await client.close()
    DataFolder(tmp_path).release()


def test_a_device_that_cannot_be_had_ends_the_start(tiny_bundle: Path, tmp_path: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has one")
    with pytest.raises(fc7.FailedPrecondition, match="device cuda cannot be used"):
        fc7.connect(data=tmp_path, models=[str(tiny_bundle)], device="cuda")
    with fc7.connect(data=tmp_path, models=[str(tiny_bundle)], device="cpu") as client:  # the folder was given back
        assert client.server_info().device == "cpu"
