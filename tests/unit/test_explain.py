"""The explainer: exact sums, projections against filters, sweeps and passes against brute force, bad input."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from explained import HALF, MIXED, POOLED, TWICE, WHITE, make_explained_bundle
from fc7.errors import (
    DataLoss,
    FailedPrecondition,
    Fc7Error,
    ImageDecodeError,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from fc7_service.bundle.bundle import Bundle
from fc7_service.bundle.folder import open_bundle
from fc7_service.bundle.onnx_file import cut_graph
from fc7_service.explain import explain_thread, occlusion
from fc7_service.explain.classes import Classes, LinearLayer
from fc7_service.explain.explainer import Explainer
from fc7_service.explain.explanations import ClassExplanation, MatchExplanation
from fc7_service.explain.occlusion import OcclusionSweep, labels_of, read_maps
from fc7_service.explain.prepared_image import PreparedImage
from fc7_service.explain.projection import Projection
from fc7_service.explain.top_images import TopImages, TopImagesStore
from fc7_service.features.preprocess import preprocess_with_crop
from fc7_service.features.session import open_session
from fc7_service.served.table import ModelTable
from servers import jpeg
from tiny import PX, make_tiny_bundle

LAYERS = ("conv5", "pool5", "fc6", "fc7", WHITE, MIXED, POOLED, TWICE, "logits")
MAPS = 4
BIASES = {WHITE: "b9", POOLED: "b10", TWICE: "b11"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_explained_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="module")
def whole(bundle: Bundle) -> ort.InferenceSession:
    """The whole graph, to compare with."""
    return ort.InferenceSession(bundle.graph(), providers=["CPUExecutionProvider"])


def make_explainer(folder: Path, *bundles: Bundle) -> Explainer:
    return Explainer(
        ModelTable(bundles),
        open_session=partial(open_session, device="cpu", threads=1),
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


def run(whole: ort.InferenceSession, layer: str, bundle: Bundle, *pixels: Any) -> np.ndarray:
    tensors = np.stack([preprocess_with_crop(one, bundle.recipe)[1] for one in pixels])
    return np.asarray(whole.run([layer], {"image": tensors})[0])


def weights(graph: bytes, name: str) -> np.ndarray:
    found = onnx.load_from_string(graph).graph.initializer
    return next(numpy_helper.to_array(one) for one in found if one.name == name)


def ask(explainer: Explainer, layer: str, seeds: tuple[int, int], n: int = 3) -> MatchExplanation:
    one, other = map(picture, seeds)
    return asyncio.run(explainer.explain_match("tiny", layer, one, other, n_strongest=n, rule="deconv"))[0]


def reason(explainer: Explainer, classes: Classes | None, label: str, seed: int, n: int = 2) -> ClassExplanation:
    return asyncio.run(explainer.explain_class("tiny", classes, label, picture(seed), n_strongest=n, rule=""))[0]


async def project(
    explainer: Explainer, layer: str, seed: int, **options: Any
) -> tuple[PreparedImage, list[Projection]]:
    view, found, clock = await explainer.project_units("tiny", layer, picture(seed), **UNIT | options)
    assert clock.timing.compute_s > 0
    return view, found


UNIT: dict[str, Any] = {"units": [], "positions": [], "n_strongest": 9, "rule": ""}


@settings(max_examples=25)
@given(seeds=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), layer=st.sampled_from(LAYERS))
def test_the_shares_of_a_cosine_add_up_to_it(
    bundle: Bundle, whole: ort.InferenceSession, shared: Explainer, seeds: tuple[int, int], layer: str
) -> None:
    a, b = run(whole, layer, bundle, *map(picture, seeds)).reshape(2, -1).astype(float)
    found = ask(shared, layer, seeds)
    assert found.score == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-5)
    rests = np.zeros(2)  # all that belongs to no unit is what the bias carries, on each side
    if layer in BIASES:
        rests = np.stack([b, a]) @ weights(bundle.graph(), BIASES[layer]) / np.linalg.norm(a) / np.linalg.norm(b)
    assert found.rest == pytest.approx(rests.mean(), abs=1e-5)
    assert found.units.sum() == pytest.approx(found.score - rests.mean(), abs=1e-5)
    for side, rest in zip((found.query, found.neighbour), rests, strict=True):
        if side.contributions.positions is not None:
            assert side.contributions.positions_rest == pytest.approx(rest, abs=1e-5)
            assert side.contributions.positions.sum() == pytest.approx(found.score - rest, abs=1e-5)


@pytest.fixture(scope="module")
def shared(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explainer]:
    made = make_explainer(tmp_path_factory.mktemp("passes"), bundle)
    yield made
    made.close()


def test_a_whitened_mean_is_split_over_maps_and_positions(
    bundle: Bundle, whole: ort.InferenceSession, explainer: Explainer
) -> None:
    found = ask(explainer, WHITE, (1, 2))
    maps = run(whole, "conv5", bundle, picture(1), picture(2)).astype(float)
    white = run(whole, WHITE, bundle, picture(1), picture(2)).astype(float)
    w9 = weights(bundle.graph(), "w9").astype(float)
    zero = white[0] - maps[0].mean(axis=(1, 2)) @ w9
    norm = np.linalg.norm(white[0]) * np.linalg.norm(white[1])
    wanted = np.einsum("cyx,cd,d->yx", maps[0] / 64, w9, white[1]) / norm
    assert found.query.contributions.positions is not None
    np.testing.assert_allclose(found.query.contributions.positions, wanted, atol=1e-6)
    assert found.query.contributions.positions_rest == pytest.approx(zero @ white[1] / norm, abs=1e-5)
    by_map = [
        np.einsum("cp,cd,d->c", m.reshape(MAPS, -1) / 64, w9, other) / norm
        for m, other in zip(maps, white[::-1], strict=True)
    ]
    assert found.unit_layer == "conv5"
    np.testing.assert_allclose(found.units, np.mean(by_map, axis=0), atol=1e-6)
    assert [p.place.unit for p in found.query.projections] == list(np.argsort(-found.units)[:3])


def test_maxima_of_cells_beside_a_mean_are_split_to_the_bias(
    bundle: Bundle, whole: ort.InferenceSession, explainer: Explainer
) -> None:
    found = ask(explainer, POOLED, (1, 2))
    features = run(whole, POOLED, bundle, picture(1), picture(2)).astype(float)
    direction = features[1] / np.linalg.norm(features[0]) / np.linalg.norm(features[1])
    shares = found.query.contributions
    assert shares.positions is not None
    assert shares.positions_rest == pytest.approx(weights(bundle.graph(), "b10") @ direction, abs=1e-5)
    w10 = weights(bundle.graph(), "w10").astype(float) @ direction  # (68,): 4 maps of 4 x 4 cells, 4 means
    maps, cells = (run(whole, name, bundle, picture(1))[0].astype(float) for name in ("conv5", "pool5"))
    of_cells = (cells * w10[:64].reshape(4, 4, 4)).sum(axis=0)
    wanted = np.kron(of_cells / 4, np.ones((2, 2))) + np.einsum("cyx,c->yx", maps / 64, w10[64:])
    np.testing.assert_allclose(shares.positions, wanted, atol=1e-6)
    assert (found.unit_layer, len(found.units)) == ("conv5", MAPS)
    assert abs(found.rest) == pytest.approx(
        abs((found.query.contributions.units_rest + found.neighbour.contributions.units_rest) / 2)
    )


def test_two_sizes_of_a_picture_share_its_units(bundle: Bundle, whole: ort.InferenceSession, shared: Explainer) -> None:
    found = ask(shared, TWICE, (1, 2))
    features = run(whole, TWICE, bundle, picture(1), picture(2)).astype(float)
    direction = features[1] / np.linalg.norm(features[0]) / np.linalg.norm(features[1])
    w11 = weights(bundle.graph(), "w11").astype(float) @ direction  # (80,): 4 maps of 4 x 4 cells, 4 of 2 x 2
    graph = ort.InferenceSession(cut_graph(bundle.graph(), ["pool5", HALF]), providers=["CPUExecutionProvider"])
    maps = graph.run(["pool5", HALF], {"image": preprocess_with_crop(picture(1), bundle.recipe)[1][np.newaxis]})
    shares = [m[0] * w.reshape(m[0].shape) for m, w in zip(maps, (w11[:64], w11[64:]), strict=True)]
    assert (found.unit_layer, len(found.units)) == ("pool5", MAPS)
    np.testing.assert_allclose(
        found.query.contributions.units, sum(share.sum(axis=(1, 2)) for share in shares), atol=1e-6
    )
    of_whole, of_half = (share.sum(axis=0) for share in shares)
    np.testing.assert_allclose(
        found.query.contributions.positions, of_whole + np.kron(of_half / 4, np.ones((2, 2))), atol=1e-6
    )


@pytest.mark.parametrize("sums", ["[1]", "{", '{"twice": 1}', '{"twice": ["fc6", "pool5/half"]}'])
def test_a_file_that_says_nonsense_of_its_sums_is_damaged(tmp_path: Path, sums: str) -> None:
    made = make_explainer(tmp_path / "passes", make_explained_bundle(tmp_path / "tiny", sums=sums))
    with pytest.raises(DataLoss, match=r"sums|not maps of the same units"):
        ask(made, TWICE, (1, 2))
    made.close()


def test_what_is_split_depends_on_the_layer(explainer: Explainer) -> None:
    spatial, flat, mixed = (ask(explainer, layer, (3, 4)) for layer in ("conv5", "fc7", MIXED))
    assert (spatial.unit_layer, flat.unit_layer, mixed.unit_layer) == ("conv5", "fc7", "conv5")
    assert [len(one.units) for one in (spatial, flat, mixed)] == [MAPS, 8, MAPS]
    maps = spatial.query.contributions.positions, spatial.neighbour.contributions.positions
    assert maps[0] is not None
    np.testing.assert_allclose(*maps, rtol=1e-12)
    assert flat.query.contributions.positions is None  # ReLU lies between
    assert mixed.query.contributions.positions is None  # a maximum is no sum over positions
    best = spatial.query.projections[0].place
    assert (best.y, best.x) == (spatial.neighbour.projections[0].place.y, spatial.neighbour.projections[0].place.x)


def test_the_shares_of_a_logit_add_up_to_it(bundle: Bundle, whole: ort.InferenceSession, explainer: Explainer) -> None:
    logits = run(whole, "logits", bundle, picture(5))[0].astype(float)
    found = reason(explainer, None, "green thing", 5, 2)
    assert found.contributions.unit_layer == "fc7"
    assert found.contributions.total == pytest.approx(logits[1], abs=1e-5)
    assert found.contributions.units.sum() + found.contributions.units_rest == pytest.approx(logits[1], abs=1e-5)
    assert found.contributions.units_rest == pytest.approx(weights(bundle.graph(), "b8")[1], abs=1e-5)
    assert found.probability == pytest.approx(np.exp(logits)[1] / np.exp(logits).sum(), abs=1e-5)
    best = reason(explainer, None, "", 5, 2)
    assert best.label == bundle.classes[logits.argmax()].name
    assert len(best.projections) == 2


def head(layer: str, dim: int) -> Classes:
    rng = np.random.default_rng(9)
    linear = LinearLayer(*(rng.standard_normal(shape).astype(np.float32) for shape in ((dim,), (dim, 2), (2,))))
    return Classes(layer, ("cat", "dog"), linear, head_version=3)


def test_a_head_on_a_mean_has_a_class_activation_map(
    bundle: Bundle, whole: ort.InferenceSession, explainer: Explainer
) -> None:
    who = head(WHITE, 4)
    assert who.linear is not None
    feature = run(whole, WHITE, bundle, picture(6))[0]
    wanted = ((feature - who.linear.mean) @ who.linear.weights + who.linear.bias)[1]
    found = reason(explainer, who, "dog", 6, 2)
    assert found.contributions.total == pytest.approx(wanted, abs=1e-5)
    assert found.contributions.positions is not None
    assert found.contributions.positions.shape == (8, 8)
    assert found.contributions.positions.sum() + found.contributions.positions_rest == pytest.approx(wanted, abs=1e-5)
    maps = run(whole, "conv5", bundle, picture(6))[0].astype(float)
    per_place = np.einsum("cyx,cd,d->yx", maps / 64, weights(bundle.graph(), "w9"), who.linear.weights[:, 1])
    np.testing.assert_allclose(found.contributions.positions, per_place, atol=1e-5)


def test_a_head_on_maps_is_split_too(explainer: Explainer) -> None:
    found = reason(explainer, head("conv5", 256), "", 7, 4)
    assert found.contributions.units.shape == (MAPS,)
    assert found.contributions.positions is not None
    assert found.contributions.units.sum() == pytest.approx(found.contributions.positions.sum())
    assert len(found.projections) == 4


@pytest.mark.parametrize(("unit", "y", "x"), [(0, 0, 0), (2, 3, 5), (3, 7, 7)])
async def test_the_gradient_of_a_first_unit_is_its_filter(
    bundle: Bundle, whole: ort.InferenceSession, explainer: Explainer, unit: int, y: int, x: int
) -> None:
    maps = run(whole, "conv5", bundle, picture(8))[0]
    view, (one,) = await project(
        explainer, "conv5", 8, units=[unit], positions=[8 * y + x], n_strongest=1, rule="gradient"
    )
    assert one.place.value == pytest.approx(maps[unit, y, x], abs=1e-6)
    assert (one.place.unit, one.place.y, one.place.x) == (unit, y, x)
    wanted = np.zeros((PX + 2, PX + 2, 3), np.float32)  # one pixel of padding around
    if maps[unit, y, x] > 0:
        wanted[2 * y : 2 * y + 3, 2 * x : 2 * x + 3] = weights(bundle.graph(), "w1")[unit].transpose(1, 2, 0)
    np.testing.assert_allclose(one.pixels, wanted[1:-1, 1:-1], atol=1e-6)
    left, top, right, bottom = one.place.box
    assert (left, top, right, bottom) == (max(0, 2 * x - 1), max(0, 2 * y - 1), min(PX, 2 * x + 2), min(PX, 2 * y + 2))
    assert view.pixels.shape == (PX, PX, 3)


async def test_the_strongest_units_come_first(
    bundle: Bundle, whole: ort.InferenceSession, explainer: Explainer
) -> None:
    for layer, count in (("conv5", MAPS), ("fc7", 8), ("logits", 3)):
        values = run(whole, layer, bundle, picture(9))[0].reshape(count, -1).max(axis=1)
        _, found = await project(explainer, layer, 9, n_strongest=3)
        assert [p.place.unit for p in found] == list(np.argsort(-values, kind="stable")[:3])
        np.testing.assert_allclose([p.place.value for p in found], np.sort(values)[::-1][:3], rtol=1e-5)
        assert explainer.provenance("tiny", layer).layer == layer


async def sweep(explainer: Explainer, **options: Any) -> tuple[OcclusionSweep, list[int]]:
    done = []
    async for sweep, _ in explainer.occlude("tiny", **options):
        done.append(sweep.n_done)
    return sweep, done


async def test_a_sweep_is_what_each_view_gives_alone(
    bundle: Bundle, whole: ort.InferenceSession, explainer: Explainer
) -> None:
    found, done = await sweep(explainer, classes=None, label="blue thing", image=picture(1), square_px=0, grid=8)
    assert done == [32, 64, 65]
    tensor = preprocess_with_crop(picture(1), bundle.recipe)[1]
    told = read_maps(found)
    assert told.class_index == 2
    for row, column in [(0, 0), (3, 5), (7, 7)]:
        covered = tensor.copy()
        top, left = (int((i + 0.5) * PX / 8) - 2 for i in (row, column))
        covered[:, max(0, top) : top + 4, max(0, left) : left + 4] = 0
        logits, maps = whole.run(["logits", "conv5"], {"image": covered[np.newaxis]})
        shares = np.exp(logits[0]) / np.exp(logits[0]).sum()
        assert told.probabilities[row, column] == pytest.approx(shares[2], abs=1e-5)
        assert told.best[row, column] == shares.argmax()
        assert told.activities is not None
        assert told.activities[row, column] == pytest.approx(maps[0, told.activity_unit].sum(), rel=1e-4)
    numbers, labels = labels_of(told.best, found.classes.labels)
    assert [labels[i] for i in numbers] == [found.classes.labels[i] for i in told.best.ravel()]


async def test_a_sweep_works_without_a_deconvnet_and_for_a_head(tmp_path: Path) -> None:
    bare = make_tiny_bundle(tmp_path / "bare")
    explainer = make_explainer(tmp_path, bare)
    found, _ = await sweep(explainer, classes=head("conv5", 256), label="cat", image=picture(1), square_px=3, grid=2)
    assert read_maps(found).probabilities.shape == (2, 2)
    told, _ = await explainer.explain_match("tiny", "fc7", picture(1), picture(2), n_strongest=3, rule="")
    assert told.query.projections == []
    assert told.units.sum() == pytest.approx(told.score)
    with pytest.raises(FailedPrecondition, match="no deconvnet"):
        await explainer.project_units("tiny", "conv5", picture(1), **UNIT)
    with pytest.raises(FailedPrecondition, match="no deconvnet"):
        await explainer.known_top_images("tiny", "conv5", bytes(32), [])
    explainer.close()


async def feed(*batches: Sequence[Any]) -> AsyncIterator[Sequence[Any]]:
    for batch in batches:
        yield batch


async def passed(explainer: Explainer, layer: str, digests: bytes, *batches: Sequence[Any]) -> TopImages:
    tops = [top async for top, _ in explainer.find_top_images("tiny", layer, digests, feed(*batches))]
    return tops[-1]


@pytest.mark.parametrize("layer", ["conv5", "fc7"])
async def test_a_pass_finds_the_top_nine_and_is_kept(
    bundle: Bundle, whole: ort.InferenceSession, explainer: Explainer, layer: str
) -> None:
    pictures = [picture(seed) for seed in range(40)]
    digests = b"".join(hashlib.sha256(one.tobytes()).digest() for one in pictures)
    values = run(whole, layer, bundle, *pictures).reshape(40, -1, 64 if layer == "conv5" else 1)
    peaks, places = values.max(axis=2), values.argmax(axis=2)
    assert await explainer.known_top_images("tiny", layer, digests, [0]) is None
    found = await passed(explainer, layer, digests, pictures[:33], pictures[33:])
    known = await explainer.known_top_images("tiny", layer, digests, [0])
    assert known is not None
    for top in (found, known):
        assert top.n_done == 40
        for unit in range(peaks.shape[1]):
            order = [i for i in np.argsort(-peaks[:, unit], kind="stable")[:9] if peaks[i, unit] > 0]
            assert [row[0] for row in top.of(unit)] == order
            np.testing.assert_allclose([row[1] for row in top.of(unit)], peaks[order, unit], rtol=1e-5)
            assert [row[2] for row in top.of(unit)] == list(places[order, unit])
    placed = await explainer.top_places("tiny", layer, known, [1])
    assert [(place.unit, place.value) for _, place in placed[0]] == [(1, row[1]) for row in known.of(1)]


async def test_few_and_unreadable_pictures(explainer: Explainer, tmp_path: Path) -> None:
    digests = bytes(range(96))
    found = await passed(explainer, "conv5", digests, [picture(1), b"junk", InvalidArgument("no", name="x")])
    assert {len(found.of(unit)) for unit in range(MAPS)} <= {0, 1}
    assert found.failed[1][:2] == ("INVALID_ARGUMENT", "UNSUPPORTED_FORMAT")
    assert found.failed[2] == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "no", "x")
    known = await explainer.known_top_images("tiny", "conv5", digests, [])
    assert known is not None
    assert known.failed == found.failed
    (file,) = (tmp_path / "passes").glob("*.pass")
    file.write_bytes(file.read_bytes()[:100])
    assert await explainer.known_top_images("tiny", "conv5", digests, []) is None


def test_a_disk_that_takes_no_pass_costs_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    passes = TopImagesStore(tmp_path / "file")
    passes.save("p", bytes(32), TopImages(MAPS))
    assert "could not be saved" in caplog.text
    assert passes.load("p", bytes(32)) is None
    (tmp_path / ".part-x.pass").write_text("half")
    TopImagesStore(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


async def test_a_pass_that_was_cut_off_is_not_kept(explainer: Explainer) -> None:
    digests = bytes(64)
    await passed(explainer, "conv5", digests, [picture(1)])
    assert await explainer.known_top_images("tiny", "conv5", digests, []) is None


def test_the_oldest_passes_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fc7_service.explain.top_images._KEPT", 2)
    passes = TopImagesStore(tmp_path)
    for i in range(3):
        passes.save("p", bytes([i]) * 32, TopImages(MAPS))
        for path in tmp_path.glob("*.pass"):
            os.utime(path, ns=(0, path.stat().st_mtime_ns - 10**9))  # each save is a second after the one before
    assert [passes.load("p", bytes([i]) * 32) is not None for i in range(3)] == [False, True, True]


@pytest.mark.parametrize(
    ("kind", "said", "options"),
    [
        (InvalidArgument, r"units of layer 'conv5' are 0 to 3 \(got 4\)", {"units": [4]}),
        (InvalidArgument, "got -1", {"units": [-1]}),
        (InvalidArgument, "positions of layer 'conv5' are 0 to 63", {"units": [0], "positions": [64]}),
        (InvalidArgument, "1 positions for 2 units", {"units": [0, 1], "positions": [0]}),
        (InvalidArgument, "positions need units", {"positions": [0]}),
        (InvalidArgument, "got 65", {"units": [0] * 65}),
        (InvalidArgument, "rule must be one of .* .got 'backprop'", {"rule": "backprop"}),
        (NotFound, "no layer 'conv9'. Choose one of conv5", {"layer": "conv9"}),
        (ImageDecodeError, "not an image", {"image": b"junk"}),
    ],
)
async def test_bad_input_to_unit(explainer: Explainer, kind: type[Fc7Error], said: str, options: Any) -> None:
    wanted = {"layer": "conv5", "image": picture(1)} | UNIT | options
    with pytest.raises(kind, match=said):
        await explainer.project_units("tiny", **wanted)


async def test_a_sweep_is_refused_before_it_costs_too_much(
    explainer: Explainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(occlusion, "_MOST_PIXELS", 16**2 * 1000)
    said = r"grid must be at most 31 for images of 16 x 16 pixels \(got 32, which needs 1025 views\)"
    with pytest.raises(ResourceExhausted, match=said) as refused:
        await sweep(explainer, classes=None, label="", image=picture(1), square_px=0, grid=32)
    assert refused.value.reason == "WORK_TOO_LARGE"
    monkeypatch.setattr(occlusion, "_MOST_PIXELS", 0)  # however large the pictures: the usual grid may be asked for
    _, done = await sweep(explainer, classes=None, label="", image=picture(1), square_px=0, grid=20)
    assert done[-1] == 401


async def test_bad_input_to_the_others(bundle: Bundle, explainer: Explainer) -> None:
    with pytest.raises(NotFound, match=r"no class 'zebra'\. The 3 classes are: red thing"):
        await explainer.explain_class("tiny", None, "zebra", picture(1), n_strongest=1, rule="")
    with pytest.raises(NotFound, match=r"no class 'zebra'\. The 2 classes are: cat, dog"):
        await sweep(explainer, classes=head("fc7", 8), label="zebra", image=picture(1), square_px=0, grid=0)
    with pytest.raises(InvalidArgument, match="square_px must be 1 to 16"):
        await sweep(explainer, classes=None, label="", image=picture(1), square_px=17, grid=0)
    with pytest.raises(InvalidArgument, match="grid must be 2 to 64"):
        await sweep(explainer, classes=None, label="", image=picture(1), square_px=0, grid=65)
    with pytest.raises(InvalidArgument, match="got 99"):
        await explainer.known_top_images("tiny", "conv5", bytes(32), [99])
    with pytest.raises(ImageDecodeError):
        await explainer.explain_match("tiny", "fc7", picture(1), b"", n_strongest=1, rule="")


async def test_a_picture_smaller_than_a_field_is_enlarged_first(explainer: Explainer) -> None:
    view, found, _ = await explainer.project_units("tiny", "fc7", jpeg(1, (5, 7)), **UNIT | {"units": [0]})
    assert found[0].place.box == (0, 0, PX, PX)
    left, top, right, bottom = view.crop
    assert (left, right) == (0.0, 1.0)
    assert 0 < top < bottom < 1


async def test_a_caller_who_leaves_gives_the_place_back(explainer: Explainer) -> None:
    sweeping = explainer.occlude("tiny", None, "", picture(1), square_px=0, grid=40)
    await anext(sweeping)
    assert explainer._thread._n_calls == 1
    await sweeping.aclose()
    assert explainer._thread._n_calls == 0


async def test_a_full_queue_says_when_to_come_back(explainer: Explainer) -> None:
    held = threading.Event()
    with explainer._thread.hold_place() as clock:
        blocked = asyncio.ensure_future(explainer._thread.run(clock, held.wait))
        calls = [
            asyncio.ensure_future(explainer.project_units("tiny", "conv5", picture(1), **UNIT))
            for _ in range(explain_thread.MAX_CALLS)
        ]
        refused = next(iter((await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED))[0]))
        error = refused.exception()
        assert isinstance(error, ResourceExhausted)
        assert error.retry_after_s == 1.0
        calls[0].cancel()  # before its turn: never computed
        held.set()
        outcomes = await asyncio.gather(blocked, *calls, return_exceptions=True)
    assert isinstance(outcomes[1], asyncio.CancelledError)
    assert sum(isinstance(outcome, ResourceExhausted) for outcome in outcomes) == 1
    assert clock.timing.compute_s > 0


async def test_the_worker_gives_way_and_ends(explainer: Explainer) -> None:
    if hasattr(os, "sched_getaffinity"):  # Linux: a thread has a priority of its own

        def nice() -> int:
            return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

        with explainer._thread.hold_place() as clock:
            assert await explainer._thread.run(clock, nice) == min(19, nice() + 15)
    explainer.close()
    with pytest.raises(Unavailable):
        await explainer.project_units("tiny", "conv5", picture(1), **UNIT)


def test_a_bundle_with_a_damaged_deconvnet_is_told(bundle: Bundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle.path, tmp_path / "tiny"))
    data = (folder / "deconv.onnx").read_bytes()
    explainer = make_explainer(tmp_path, open_bundle(folder))
    (folder / "deconv.onnx").write_bytes(bytes([data[0] ^ 1]) + data[1:])
    with pytest.raises(DataLoss, match="does not match the hash"):
        asyncio.run(explainer.project_units("tiny", "conv5", picture(1), **UNIT))
    explainer.close()
