"""What explanations may cost: sessions, places, a caller who leaves, passes on disk, answers that fit."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import explained
import fc7
from explained import WHITE, make_explained_bundle
from fc7.errors import DeadlineExceeded, Fc7Error, InvalidArgument, NotFound, ResourceExhausted
from fc7_service import capabilities
from fc7_service.bundle.bundle import Bundle
from fc7_service.explain import explain_thread, session_cache, top_images
from fc7_service.explain import explainer as explainer_module
from fc7_service.explain.classes import Classes
from fc7_service.explain.explainer import Explainer
from fc7_service.explain.prepared_image import PreparedImage
from fc7_service.explain.top_images import TopImages, TopImagesStore
from fc7_service.features.preprocess import preprocess_with_crop
from fc7_service.features.session import open_session
from fc7_service.served.table import ModelTable
from servers import WAIT_S, jpeg
from tiny import PX, RECIPE

UNIT: dict[str, Any] = {"units": [], "positions": [], "n_strongest": 2, "rule": ""}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_explained_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


OPEN = partial(open_session, device="cpu", threads=1)


def make_explainer(folder: Path, *bundles: Bundle, open_session: Callable[[bytes, str], Any] = OPEN) -> Explainer:
    return Explainer(
        ModelTable(bundles),
        open_session=open_session,
        prepare_image=lambda image, recipe: PreparedImage(*preprocess_with_crop(image, recipe)),
        folder=folder,
        turn=lambda *, is_bulk: nullcontext(),
    )


@pytest.fixture
def explainer(bundle: Bundle, tmp_path: Path) -> Iterator[Explainer]:
    made = make_explainer(tmp_path / "passes", bundle)
    yield made
    made.close()


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (PX, PX, 3), dtype=np.uint8)


async def feed(*batches: Sequence[Any]) -> AsyncIterator[Sequence[Any]]:
    for batch in batches:
        yield batch


async def passed(explainer: Explainer, layer: str, digests: bytes, *batches: Sequence[Any]) -> TopImages:
    return [top async for top, _ in explainer.find_top_images("tiny", layer, digests, feed(*batches))][-1]


class Watched:
    """A session that tells of its runs."""

    def __init__(self, session: Any, told: Callable[[], None]) -> None:
        self._session, self._told = session, told
        self.get_inputs = session.get_inputs

    def run(self, *args: Any) -> Any:
        self._told()
        return self._session.run(*args)


async def test_sessions_of_all_networks_are_few(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_cache, "_MAX_SESSIONS", 3)
    other = make_explained_bundle(tmp_path / "other", name="other", seed=1)
    explainer = make_explainer(tmp_path, bundle, other)
    kept = explainer._sessions._sessions
    first: dict[tuple[str, str], float] = {}
    for _, model, layer in itertools.product(range(2), ("tiny", "other"), ("conv5", "fc6", "fc7", "logits")):
        _, found, _ = await explainer.project_units(model, layer, picture(1), **UNIT)
        assert len(kept) <= 3
        assert first.setdefault((model, layer), found[0].place.value) == found[0].place.value
    explainer.close()


async def test_sessions_of_large_graphs_are_fewer(explainer: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_cache, "_MAX_BYTES", 1)
    await explainer.explain_match("tiny", WHITE, picture(1), picture(2), n_strongest=1, rule="")
    assert len(explainer._network("tiny")._sessions._sessions) == 1


def test_sessions_of_explanations_keep_no_memory_of_runs(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    monkeypatch.setattr(
        capabilities,
        "open_session",
        lambda *args, **options: opened.append(open_session(*args, **options)) or opened[-1],
    )
    with fc7.connect(data=tmp_path, models=[str(bundle.path)]) as client:
        client.explain.unit(jpeg(1), units=[0])
    assert [one.get_session_options().enable_cpu_mem_arena for one in opened] == [False] * len(opened)
    assert opened


async def test_work_stops_where_its_caller_leaves(bundle: Bundle, tmp_path: Path) -> None:
    runs, started, go_on = [], threading.Event(), threading.Event()

    def told() -> None:
        runs.append(time.monotonic())
        started.set()
        assert go_on.wait(WAIT_S)

    explainer = make_explainer(tmp_path, bundle, open_session=lambda graph, name: Watched(OPEN(graph, name), told))
    call = asyncio.ensure_future(explainer.explain_match("tiny", WHITE, picture(1), picture(2), n_strongest=4, rule=""))
    assert await asyncio.to_thread(started.wait, WAIT_S)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    go_on.set()
    with explainer._thread.hold_place() as clock:
        await explainer._thread.run(clock, lambda: None)  # behind the match
    assert len(runs) == 1
    _, found, _ = await explainer.project_units("tiny", "conv5", picture(1), **UNIT)
    assert len(found) == 2
    explainer.close()


async def test_streams_that_stand_still_leave_places_and_end(
    explainer: Explainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explainer_module, "_PATIENCE_S", 0.5)

    async def still() -> AsyncIterator[Sequence[Any]]:
        await asyncio.Event().wait()
        yield []

    async def take(number: int) -> None:
        async for _ in explainer.find_top_images("tiny", "conv5", bytes([number]) * 32, still()):
            raise AssertionError("nothing came")

    calls = [asyncio.ensure_future(take(number)) for number in range(explain_thread.MAX_CALLS)]
    refused, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    assert isinstance(next(iter(refused)).exception(), ResourceExhausted)
    await explainer.project_units("tiny", "conv5", picture(1), **UNIT)
    outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), WAIT_S)
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds.count(DeadlineExceeded) == kinds.count(ResourceExhausted) == explain_thread.MAX_CALLS // 2
    assert explainer._thread._n_calls == 0


def make_top(channels: int = 16) -> TopImages:
    rng, made = np.random.default_rng(0), TopImages(channels)
    made.add(rng.random((20, channels)).astype(np.float32), rng.integers(0, 64, (20, channels)), range(20))
    made.fail(20, InvalidArgument("no ☹", name="n"))
    made.n_done = 21
    return made


def test_a_pass_with_any_bit_flipped_is_no_pass(tmp_path: Path) -> None:
    passes, digests, made = TopImagesStore(tmp_path), bytes(32 * 21), make_top()
    passes.save("p", digests, made)
    (file,) = tmp_path.iterdir()
    good = file.read_bytes()
    known = passes.load("p", digests)
    assert known is not None
    assert (known.failed, known.n_done) == (made.failed, 21)
    for name in ("values", "pictures", "positions"):
        np.testing.assert_array_equal(getattr(known, name), getattr(made, name))
    for place in range(len(good)):
        file.write_bytes(good[:place] + bytes([good[place] ^ 1 << place % 8]) + good[place + 1 :])
        assert passes.load("p", digests) is None, place
    for size in range(0, len(good), 101):
        file.write_bytes(good[:size])
        assert passes.load("p", digests) is None, size


def test_passes_on_disk_are_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = TopImagesStore(tmp_path)
    passes.save("p", bytes(32), make_top())
    (file,) = tmp_path.iterdir()
    monkeypatch.setattr(top_images, "_KEPT_BYTES", 2 * file.stat().st_size)
    for number in range(1, 4):
        passes.save("p", bytes([number]) * 32, make_top())
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(top_images, "_KEPT_BYTES", 1)
    passes.save("p", bytes([4]) * 32, make_top())
    assert passes.load("p", bytes([4]) * 32) is not None
    assert len(list(tmp_path.iterdir())) == 1


async def test_a_pass_of_unreadable_pictures_ends(explainer: Explainer, tmp_path: Path) -> None:
    size = 2 * top_images.MAX_FAILED
    with pytest.raises(
        InvalidArgument, match=f"image {top_images.MAX_FAILED} is one of more than {top_images.MAX_FAILED}"
    ):
        await passed(explainer, "conv5", bytes(32 * size), [b""] * size)
    assert not (tmp_path / "passes").exists()
    long = TopImages(1)
    long.fail(0, Fc7Error("m" * 5000, name="n" * 5000))
    assert [len(text) for text in long.failed[0]] == [len("INTERNAL"), len("INTERNAL"), 1024, 256]


async def test_the_top_of_logits_holds_negative_ones(bundle: Bundle, explainer: Explainer) -> None:
    pictures = [picture(seed) for seed in range(12)]
    digests = b"".join(hashlib.sha256(one.tobytes()).digest() for one in pictures)
    session = OPEN(bundle.graph(), "tiny")
    (logits,) = session.run(["logits"], {"image": np.stack([preprocess_with_crop(one, RECIPE)[1] for one in pictures])})
    assert (np.sort(logits, axis=0)[-9:] < 0).any()
    found = await passed(explainer, "logits", digests, pictures)
    for unit in range(3):
        assert [row[0] for row in found.of(unit)] == list(np.argsort(-logits[:, unit], kind="stable")[:9])


async def test_a_feature_near_zero_does_not_hide_that_it_is_a_sum(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, plain = OPEN(bundle.graph(), "tiny"), explained._with_pooled
    (white,) = session.run([WHITE], {"image": preprocess_with_crop(picture(777), RECIPE)[1][np.newaxis]})

    def shifted(graph: bytes, seed: int, sums: str) -> bytes:
        model = onnx.load_from_string(plain(graph, seed, sums))
        bias = next(one for one in model.graph.initializer if one.name == "b9")
        bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) - (1 - 1e-4) * white[0], "b9"))
        return bytes(model.SerializeToString())

    monkeypatch.setattr(explained, "_with_pooled", shifted)
    explainer = make_explainer(tmp_path, make_explained_bundle(tmp_path / "shifted"))
    for one, other in ((777, 1), (1, 2)):
        found, _ = await explainer.explain_match("tiny", WHITE, picture(one), picture(other), n_strongest=1, rule="")
        assert found.unit_layer == "conv5"
        assert found.query.contributions.positions is not None
    explainer.close()


def test_a_label_of_several_classes_is_asked_for_by_id() -> None:
    who = Classes("logits", ("crane", "cat", "crane"), ids=("n1", "cat-id", "n3"))
    assert [who.index(name) for name in ("cat", "n1", "cat-id", "n3")] == [1, 0, 1, 2]
    with pytest.raises(InvalidArgument, match=r"several classes are called 'crane'\. Use one of the ids n1, n3"):
        who.index("crane")
    with pytest.raises(NotFound, match="no class 'n2'"):
        who.index("n2")
