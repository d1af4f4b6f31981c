"""The table of networks: what names mean, who uses a network, and that memory is given back."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from fc7.errors import DataLoss, FailedPrecondition, NotFound
from fc7_service.bundle.bundle import Bundle, find_maker
from fc7_service.bundle.folder import open_bundle, write_bundle
from fc7_service.features.batcher import Batcher
from fc7_service.features.extractor import Extractor
from fc7_service.features.golden_check import try_out
from fc7_service.served.call_models import hold_models
from fc7_service.served.changes import ModelChanges, wait_until_released
from fc7_service.served.table import ModelTable
from servers import WAIT_S
from tiny import LAYERS, PX, RECIPE, make_tiny_bundle

GREY = np.full((PX, PX, 3), 128, np.uint8)


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two networks called "tiny"."""
    for seed in (0, 1):
        make_tiny_bundle(tmp_path / f"tiny{seed}", seed=seed)
    return [tmp_path / "tiny0", tmp_path / "tiny1"]


@pytest.fixture
def bundles(folders: list[Path]) -> list[Bundle]:
    return [open_bundle(folder) for folder in folders]


@pytest.fixture
def extractor(bundles: list[Bundle]) -> Iterator[Extractor]:
    made = Extractor(ModelTable(bundles[:1]), device="cpu", threads=1)
    yield made
    made.close()


@pytest.fixture
def changes(extractor: Extractor) -> ModelChanges:
    return ModelChanges(extractor.models, partial(try_out, extractor))


def names(table: ModelTable) -> dict[str, str]:
    return {name: bundle.graph_sha256 for name, bundle in table.bundles.items()}


def test_the_order_says_what_names_mean(bundles: list[Bundle], tmp_path: Path) -> None:
    first, second = (bundle.graph_sha256 for bundle in bundles)
    other = make_tiny_bundle(tmp_path / "other", name="other", seed=2)
    table = ModelTable(bundles[:1])
    table.add(table.make(bundles[1]))
    table.add(table.make(other))
    assert names(table) == {"tiny": first, "tiny:2": second, "other": other.graph_sha256}
    assert table.bundle("").name == "tiny"
    assert table.bundle("tiny:1").name == "tiny"  # the version that the plain name means
    assert table.bundle("tiny:2@1").name == "tiny:2@1"
    table.make_default(table.look_up("tiny:2"))
    assert names(table) == {"tiny": second, "tiny:1": first, "other": other.graph_sha256}
    assert table.bundle("").graph_sha256 == second
    with pytest.raises(NotFound, match=r"model 'tiny:3' is not served. Choose one of tiny, tiny:1, other"):
        table.bundle("tiny:3")


def test_a_call_sees_what_a_name_meant_when_it_used_it_first(bundles: list[Bundle]) -> None:
    table = ModelTable(bundles[:1])
    old, first = table.look_up("tiny"), bundles[0].provenance("fc7")
    with hold_models():
        assert table.bundle("").graph_sha256 == first.graph_sha256
        table.replace(old, new := table.make(bundles[1]), keeps_old=False)
        assert table.bundle("tiny").graph_sha256 == table.bundle("").graph_sha256 == first.graph_sha256
        maker = find_maker(table.bundles, bundles[1].provenance("fc7"))
        assert maker is not None
        assert table.choose(maker.name)[0] is new
        assert (old.n_users, old.is_released.is_set()) == (1, False)
    assert table.bundle("").graph_sha256 == bundles[1].graph_sha256
    assert old.is_released.wait(WAIT_S)
    assert find_maker(table.bundles, first) is None


def test_a_network_is_closed_once_when_its_last_user_leaves(bundles: list[Bundle]) -> None:
    closed = threading.Semaphore(0)

    class Held:
        close = staticmethod(closed.release)

    table = ModelTable(bundles)
    model = table.look_up("tiny:2")
    model.open("held", Held)
    assert model.open("held", Held) is model.opened("held")
    model.acquire()
    model.acquire()
    table.remove(model)
    model.release()
    assert not closed.acquire(blocking=False)
    model.release()
    assert closed.acquire(timeout=WAIT_S)
    assert model.is_released.wait(WAIT_S)
    assert not closed.acquire(blocking=False)


async def test_sessions_are_released_at_every_reload(
    extractor: Extractor, changes: ModelChanges, folders: list[Path]
) -> None:
    sessions: list[weakref.ref[object]] = []
    for turn in range(10):
        await extractor.extract([GREY], model="", layer="fc7")
        batcher = extractor.models.default.opened(Batcher)
        assert isinstance(batcher, Batcher)
        sessions.append(weakref.ref(batcher._engine))  # type: ignore[type-var]
        new, old = await changes.reload("tiny", str(folders[(turn + 1) % 2]), keeps_old=False)
        assert await wait_until_released(old) == 0
        assert extractor.models.default is new
    del batcher
    gc.collect()
    assert [session() for session in sessions] == [None] * 10
    assert extractor.models.default.version == 11
    assert list(extractor.models.models) == ["tiny"]
    assert [thread.name for thread in threading.enumerate()].count("fc7-engine") == 1


async def test_what_fails_changes_nothing(
    extractor: Extractor, changes: ModelChanges, folders: list[Path], tmp_path: Path
) -> None:
    before = names(extractor.models)
    make_tiny_bundle(tmp_path / "other", name="other")
    golden = make_tiny_bundle(tmp_path / "lying", seed=3).path
    arrays = dict(np.load(folders[1] / "golden.npz"))
    np.savez(golden / "golden.npz", **arrays)
    write_bundle(golden, name="tiny", network="tiny", layers=LAYERS, recipe=RECIPE, versions={})
    (folders[1] / "model.onnx").write_bytes(b"\0" * (folders[1] / "model.onnx").stat().st_size)
    for bundle, kind, text in (
        (folders[1], DataLoss, "file 'model.onnx' of bundle 'tiny' does not match the hash"),
        (golden, DataLoss, "layer 'conv5' of bundle 'tiny' differs by .* from its golden values"),
        (tmp_path / "other", FailedPrecondition, "holds model 'other', not 'tiny'. Load it beside the other one"),
        (tmp_path / "none", NotFound, "is neither a shipped bundle"),
    ):
        with pytest.raises(kind, match=text):
            await changes.reload("tiny", str(bundle), keeps_old=False)
        assert names(extractor.models) == before
    with pytest.raises(FailedPrecondition, match=r"model 'tiny' is the default model. Make another one the default"):
        await changes.unload("tiny")
    with pytest.raises(NotFound, match="model 'none' is not served"):
        await changes.unload("none")
    (row,) = (await extractor.extract([GREY], model="tiny", layer="fc7")).rows
    assert isinstance(row, np.ndarray)


async def test_a_bundle_that_changes_while_it_is_loaded_changes_nothing(
    extractor: Extractor, changes: ModelChanges, folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files were checked, then replaced, and only then is the graph read."""
    before, graph, check = names(extractor.models), folders[1] / "model.onnx", Bundle.check_files

    def replace_after_check(bundle: Bundle) -> None:
        check(bundle)
        whole = graph.read_bytes()
        graph.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))

    monkeypatch.setattr(Bundle, "check_files", replace_after_check)
    with pytest.raises(DataLoss, match=r"file 'model.onnx' of bundle 'tiny' does not match the hash") as caught:
        await changes.reload("tiny", str(folders[1]), keeps_old=False)
    assert caught.value.reason == "BUNDLE_DAMAGED"
    assert names(extractor.models) == before
    (row,) = (await extractor.extract([GREY], model="tiny", layer="fc7")).rows
    assert isinstance(row, np.ndarray)


async def test_what_is_served_already_is_not_loaded_again(
    extractor: Extractor, changes: ModelChanges, folders: list[Path]
) -> None:
    second = await changes.load(str(folders[1]), is_default=False)
    assert second is await changes.load(str(folders[1]), is_default=False)
    assert list(extractor.models.models) == ["tiny", "tiny:2"]
    assert second is await changes.load("tiny:2", is_default=True)
    assert list(extractor.models.models) == ["tiny", "tiny:1"]
    assert extractor.models.default is second
