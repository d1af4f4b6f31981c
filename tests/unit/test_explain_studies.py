"""The studies of explanations: invariance, correspondence, evolution, check. On tiny bundles and drawn pictures."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import spearmanr

from explained import make_explained_bundle
from fc7.cli import main
from fc7.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound
from fc7_models.deconv.layer_chain import LayerChain
from fc7_models.export.pack_bundle import run_graph
from fc7_models.networks import find_network
from fc7_models.studies import correspondence, invariance, saliency_check
from fc7_models.studies.feature_evolution import project_epochs
from fc7_models.studies.saliency import (
    METHODS,
    ExplainedNetwork,
    backward_graph,
    baseline_maps,
    grad_cam,
    shuffle_weights,
)
from fc7_models.studies.study_inputs import open_unit_graph, sample_pictures
from fc7_models.training.plan import Plan
from fc7_models.training.trained_network import TrainedNetwork, TrainingRecord
from fc7_service.bundle.bundle import Bundle
from fc7_service.bundle.folder import open_model
from fc7_service.bundle.onnx_file import cut_graph
from fc7_service.features.preprocess import preprocess, to_tensor
from tiny import PX, RECIPE, tiny_graph

EVERY = (*METHODS, "random", "edges")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures, three of class c2."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for i in range(6):
        file = root / ("c2" if i % 2 else "other") / f"{i}.png"
        file.parent.mkdir(exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize((48, 36), Image.Resampling.BICUBIC).save(file)
    return root


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_explained_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


def quiet(done: int, total: int) -> None:
    assert 0 < done <= total


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def is_drawing(path: Path) -> bool:
    with Image.open(path) as image:
        return image.format == "PNG" and min(image.size) > 50 and len(set(image.convert("L").tobytes())) > 5


def rows_of(*words: object, code: int = 0, said: str = "") -> list[dict[str, object]]:
    result = CliRunner().invoke(main, ["explain", *map(str, words), "--json"])
    assert result.exit_code == code, result.output
    assert said in result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


# Pictures


def test_pictures_are_taken_evenly(folder: Path, tmp_path: Path) -> None:
    every = sample_pictures(folder, 100)
    assert [path.name for path in every] == ["1.png", "3.png", "5.png", "0.png", "2.png", "4.png"]
    assert sample_pictures(folder, 3) == [every[0], every[2], every[5]]
    assert sample_pictures(folder, 1) == every[:1]
    (tmp_path / ".hidden").mkdir()
    shutil.copy(every[0], tmp_path / ".hidden" / "a.png")
    with pytest.raises(InvalidArgument, match="holds no picture"):
        sample_pictures(tmp_path, 5)
    with pytest.raises(NotFound):
        sample_pictures(tmp_path / "nowhere", 5)


# Invariance


def test_curves_begin_at_the_untouched_picture(folder: Path, bundle: Bundle) -> None:
    curves = invariance.measure_invariance(folder, str(bundle.path), 6, quiet)
    assert [(c.picture, c.transform) for c in curves[:4]] == [
        ("c2/1.png", "shift"), ("c2/1.png", "scale"), ("c2/1.png", "rotation"), ("c2/3.png", "shift"),
    ]  # fmt: skip
    assert {c.label for c in curves if c.picture.startswith("c2")} == {"blue thing"}  # the folder's class
    untouched = {"shift": 12, "scale": 0, "rotation": 0}
    for curve in curves:
        rest = untouched[curve.transform]
        assert curve.amounts[rest] == (curve.transform == "scale")
        assert list(curve.distances) == ["conv5", "fc7"]
        for far in curve.distances.values():
            assert far[rest] == 0
            assert (np.delete(far, [rest, *([36] if curve.transform == "rotation" else [])]) > 0).all()
        assert curve.views.shape == (5, PX, PX, 3)
    for one, other in zip(curves[::3], curves[1::3], strict=True):
        assert one.probabilities[12] == pytest.approx(other.probabilities[0])
    turned = curves[2]
    assert turned.probabilities[0] == turned.probabilities[36]  # once around
    best = next(c for c in curves if c.picture == "other/0.png")
    logits = run_graph(bundle.graph(), to_tensor(best.views[2], RECIPE)[np.newaxis])["logits"][0]
    assert best.label == bundle.classes[int(logits.argmax())].name  # no class is called "other"


def test_distances_and_means(folder: Path, bundle: Bundle) -> None:
    curves = invariance.measure_invariance(folder, str(bundle.path), 2, quiet)
    views = np.stack([to_tensor(pixels, RECIPE) for pixels in curves[0].views])
    found = run_graph(bundle.graph(), views)["fc7"]
    wanted = np.linalg.norm(found - found[2], axis=1) / np.linalg.norm(found[2])
    np.testing.assert_allclose(curves[0].distances["fc7"][::6], wanted, atol=1e-5)
    rows = invariance.mean_curves(curves)
    assert len(rows) == sum(map(len, invariance.AMOUNTS.values()))
    assert rows[0]["fc7"] == pytest.approx(np.mean([curves[i].distances["fc7"][0] for i in (0, 3)]))


def test_pictures_move_as_far_as_they_are_told() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[28:36, 28:36] = 255
    image = Image.fromarray(pixels)

    def centre(transform: str, amount: float) -> tuple[float, float, float]:
        moved = np.asarray(invariance._move(image, transform, amount, replace(RECIPE, resize_px=32, crop_px=32)))
        light = (moved[..., 0] > 190).astype(float)
        y, x = np.indices(light.shape)
        return (y * light).sum() / light.sum(), (x * light).sum() / light.sum(), light.sum()

    assert centre("shift", 0) == centre("scale", 1) == centre("rotation", 0) == (31.5, 31.5, 64)
    assert centre("shift", 56) == (31.5 + 16, 31.5, 64)  # a quarter of 224 is a quarter of 64
    y, x, size = centre("scale", 1.5)
    assert (y, x) == (31.5, 31.5)
    assert size == pytest.approx(64 * 1.5**2, rel=0.2)
    corner = Image.fromarray(np.roll(pixels, 20, axis=1))
    turned = np.asarray(invariance._move(corner, "rotation", 90, RECIPE))
    assert (turned[12, 32] == 255).all()  # what was at the right is above
    assert (np.asarray(invariance._move(image, "shift", 56, RECIPE))[0, 0] == [124, 116, 104]).all()  # the mean colour


# Correspondence


def write_parts(folder: Path, *lines: str, header: str = "picture,part,x,y,width,height") -> Path:
    (folder / "parts.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def dogs(folder: Path, tmp_path: Path) -> Path:
    """Three pictures, of which a and b are the same."""
    for name, source in (("a", "c2/1"), ("b", "c2/1"), ("c", "c2/3")):
        shutil.copy(folder / f"{source}.png", tmp_path / f"{name}.png")
    return write_parts(
        tmp_path,
        "a.png,nose,0.3,0.3,0.2,0.2", "b.png,nose,0.3,0.3,0.2,0.2",
        "a.png,eye,0.6,0.2,0.1,0.1", "b.png,eye,0.6,0.2,0.1,0.1", "c.png,eye,0.5,0.1,0.1,0.1",
        "a.png,object,0.2,0.1,0.5,0.6",
    )  # fmt: skip


def test_the_same_change_is_no_difference(dogs: Path, bundle: Bundle) -> None:
    rows = {(row.part, row.layer): row for row in correspondence.measure_correspondence(dogs, str(bundle.path), quiet)}
    assert list(rows) == [(part, layer) for part in ("nose", "eye", "random") for layer in ("conv5", "fc7")]
    nose, eye, lot = (rows[part, "conv5"] for part in ("nose", "eye", "random"))
    assert (nose.mean, nose.deviation, nose.pictures, nose.pairs) == (0, 0, 2, 1)
    assert (eye.pictures, eye.pairs, lot.pictures, lot.pairs) == (3, 3, 3, 4 * 20)
    assert 0 < eye.mean < 1
    assert 0 < lot.mean < 1
    assert lot.deviation > 0
    assert nose.relative == 0 < lot.relative


def test_unrelated_changes_are_as_unlike_as_by_chance() -> None:
    rng = np.random.default_rng(0)
    signs = [rng.choice([-1, 0, 1], (3, 20000), p=p).astype(np.int8) for p in ([0.1, 0.6, 0.3], [0.4, 0.4, 0.2])]
    unlike, relative = correspondence._compare(signs)
    assert unlike.shape == (3,)
    np.testing.assert_allclose(relative, 1, atol=0.02)


def test_the_score_by_hand(dogs: Path, bundle: Bundle) -> None:
    lines = ["a.png,eye,0.6,0.2,0.1,0.1", "c.png,eye,0.5,0.1,0.1,0.1"]
    eye, *_ = correspondence.measure_correspondence(write_parts(dogs, *lines), str(bundle.path), quiet)
    signs = []
    for name, (x, y) in (("a", (0.6, 0.2)), ("c", (0.5, 0.1))):
        whole = preprocess((dogs / f"{name}.png").read_bytes(), RECIPE)
        masked = whole.copy()
        left, right = (round(21 * edge - 2) for edge in (x, x + 0.1))  # 48 x 36 becomes 21 x 16, of which 2 are cut
        masked[:, round(PX * y) : round(PX * (y + 0.1)), left:right] = 0
        values = run_graph(bundle.graph(), np.stack([whole, masked]))["conv5"]
        eps = values[0] - values[1]
        signs.append(np.sign(eps) * (abs(eps) > 1e-6 * values.max()))
    assert eye.mean == pytest.approx(np.mean(signs[0] != signs[1]))
    alike = sum(np.mean(signs[0] == sign) * np.mean(signs[1] == sign) for sign in (-1, 0, 1))
    assert eye.relative == pytest.approx(eye.mean / (1 - alike))


def test_random_masks_lie_in_their_object() -> None:
    boxes = correspondence._random_boxes((0, 0, 3, 4), (5, 2, 12, 9), seed=1)
    assert len(set(boxes)) > 10
    assert all(x0 >= 5 and y0 >= 2 and x1 <= 12 and y1 <= 9 for x0, y0, x1, y1 in boxes)
    assert {(x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes} == {(3, 4)}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["a.png,eye,0.6,0.2,0.1,0.1"], "in two pictures or more"),
        (["a.png,eye,0.6,0.2,0.1,0.1", "a.png,eye,0.1,0.2,0.1,0.1"], "once each"),
        (["a.png,eye,here,0.2,0.1,0.1"], "line 2 .* four numbers"),
        (["a.png,eye,0.1,0.2"], "line 2 .* four numbers"),
        (["a.png,eye,30,40,5,5"], "line 2 .* outside the picture"),
        (["a.png,random,0.6,0.2,0.1,0.1"], "line 2 .* 'random'"),
        (["a.png,eye,0,0.2,0.1,0.1", "b.png,eye,0,0.2,0.1,0.1"], "outside the square"),
        ([], "names no part"),
    ],
)
def test_lines_that_are_not_parts(dogs: Path, bundle: Bundle, lines: list[str], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        correspondence.measure_correspondence(write_parts(dogs, *lines), str(bundle.path), quiet)


def test_a_missing_file_shows_its_format(dogs: Path, bundle: Bundle) -> None:
    write_parts(dogs, header="file,part")
    with pytest.raises(InvalidArgument, match="picture,part,x,y,width,height"):
        correspondence.measure_correspondence(dogs, str(bundle.path), quiet)
    write_parts(dogs, "d.png,eye,0.6,0.2,0.1,0.1", "b.png,eye,0.6,0.2,0.1,0.1")
    with pytest.raises(NotFound, match=r"picture 'd\.png'"):
        correspondence.measure_correspondence(dogs, str(bundle.path), quiet)
    (dogs / "parts.csv").unlink()
    with pytest.raises(NotFound, match=r"no parts\.csv.*picture,part,x,y,width,height"):
        correspondence.measure_correspondence(dogs, str(bundle.path), quiet)


# Maps


def inputs(n: int) -> NDArray[np.float32]:
    return np.random.default_rng(3).standard_normal((n, 3, PX, PX), np.float32)


def test_the_backward_graph_is_that_of_the_deconvnet(bundle: Bundle) -> None:
    x, units, back = inputs(6), [0, 1, 2, 0, 1, 2], backward_graph(bundle.graph(), PX)
    for rule in ("deconv", "gradient", "guided"):
        (found,) = open_unit_graph(bundle.graph() + back.nodes, [f"pixels/{rule}"])(x, units)
        names = [f"pixels/{rule}/logits", "value/logits"]
        wanted, values = open_unit_graph(bundle.graph() + bundle.deconv(), names)(x, units)
        if rule != "gradient":
            wanted /= values[:, None, None, None]
        for i in np.flatnonzero(values > 0):  # the other signs turn the signal there
            np.testing.assert_allclose(found[i], wanted[i], atol=1e-5)
        assert (values > 0).any()
    assert back.maps == "conv5"
    assert [name for name, _ in back.weights] == ["conv1", "fc2", "fc3", "logits"]


def test_grad_cam_rests_on_the_gradient_at_the_last_maps(bundle: Bundle) -> None:
    x, back = inputs(1), backward_graph(bundle.graph(), PX)
    gradient, maps = open_unit_graph(bundle.graph() + back.nodes, ["gradient/maps", back.maps])(x, [1])
    answer = onnx.load_from_string(cut_graph(bundle.graph(), ["logits"], ["conv5"])).SerializeToString()
    steps = np.repeat(maps, 2, axis=0)
    place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
    steps[1][place[1:]] += 1e-2
    logits = run_graph(answer, steps)["logits"][:, 1]
    assert (logits[1] - logits[0]) / 1e-2 == pytest.approx(gradient[place], rel=1e-2)
    found = grad_cam(maps[0], gradient[0])
    wanted = sum(gradient[0, c].mean() * maps[0, c] for c in range(maps.shape[1]))
    np.testing.assert_allclose(found, np.maximum(wanted, 0), atol=1e-6)


def test_maps_and_probabilities(bundle: Bundle) -> None:
    x, back = inputs(3), backward_graph(bundle.graph(), PX)
    lens = ExplainedNetwork(bundle.graph(), back)
    logits = run_graph(bundle.graph(), x)["logits"].astype(np.float64)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(lens.probabilities(x), chances, atol=1e-6)
    found = lens.maps(x[0], 2)
    assert tuple(found) == METHODS
    assert {values.shape for values in found.values()} == {(PX, PX)}
    assert all((found[name] >= 0).all() for name in ("deconv", "gradient", "guided", "grad-cam"))
    masked = x[:1].copy()
    masked[0, :, :3, :3] = 0  # the square around the first point, a quarter of the view, as far as it lies inside
    lost = lens.probabilities(x[:1])[0, 2] - lens.probabilities(masked)[0, 2]
    assert found["occlusion"][0, 0] == pytest.approx(lost, abs=1e-6)


def test_edges_and_random_maps() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, 4:] = 100
    found = baseline_maps(pixels, seed=0)
    np.testing.assert_array_equal(found["edges"], np.tile(np.array([0, 0, 0, 400, 400, 0, 0, 0], np.float32), (8, 1)))
    assert len(np.unique(found["random"])) == 64
    assert not np.array_equal(found["random"], baseline_maps(pixels, seed=1)["random"])


@pytest.mark.parametrize("graph", [tiny_graph(), open_model("alexnet-64").graph()], ids=["tiny", "stored as fp16"])
def test_shuffling_keeps_the_distribution_and_the_rest(graph: bytes) -> None:
    px = 16 if graph == tiny_graph() else 64
    products = backward_graph(graph, px).weights
    other = shuffle_weights(graph, products[-1][1], seed=0)
    before, after = (LayerChain(onnx.load_from_string(one)) for one in (graph, other))
    for layer, weights in products:
        for name in weights:
            a, b = before.constant(name), after.constant(name)
            assert a is not None
            assert b is not None
            assert np.array_equal(a, b) == (layer != "logits")
            np.testing.assert_array_equal(np.sort(a.ravel()), np.sort(b.ravel()))
    x = np.random.default_rng(0).standard_normal((2, 3, px, px), np.float32)
    one, two = run_graph(graph, x), run_graph(other, x)
    np.testing.assert_array_equal(one["fc7"], two["fc7"])
    assert abs(one["logits"] - two["logits"]).max() > 0.1


# The check of maps


def test_similarity_of_maps() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (2, 16, 16)).astype(np.float32)  # with many ties
    assert saliency_check.rank_correlation(a, b) == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic)
    assert saliency_check.rank_correlation(a, a**3) == pytest.approx(1)
    assert saliency_check.rank_correlation(a, np.zeros_like(a)) == 0
    assert saliency_check.structural_similarity(a, 3 * a) == pytest.approx(1)
    near, far = a + 0.3 * b, np.zeros_like(a)
    assert 1 > saliency_check.structural_similarity(a, near) > saliency_check.structural_similarity(a, b)
    assert saliency_check.structural_similarity(a, far) < 0.1


class Weighing:
    """A network whose one probability is a sum of the first colour over some pixels."""

    def __init__(self, weights: NDArray[np.float32]) -> None:
        self.weights = weights / weights.sum()

    def probabilities(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        sums: NDArray[np.float32] = (x[:, :1] * self.weights).sum(axis=(2, 3))
        return sums


def test_the_true_order_has_the_best_curves() -> None:
    weights = np.random.default_rng(0).random((PX, PX), np.float32)
    lens, picture, blank = Weighing(weights), np.ones((3, PX, PX), np.float32), np.zeros((3, PX, PX), np.float32)
    curves = {
        name: saliency_check._curves(lens, picture, blank, 0, ranking)  # type: ignore[arg-type]
        for name, ranking in (("true", weights), ("flat", 0 * weights), ("turned", -weights))
    }
    for gone, come in curves.values():
        assert (gone[0], gone[-1], come[0], come[-1]) == pytest.approx((1, 0, 0, 1), abs=1e-5)
        np.testing.assert_allclose(gone + come, 1, atol=1e-5)
    true, flat, turned = (saliency_check._score(name, curve[np.newaxis]) for name, curve in curves.items())
    assert true.deletion < flat.deletion - 0.1 < turned.deletion - 0.2
    assert true.insertion > flat.insertion + 0.1 > turned.insertion + 0.2
    assert flat.deletion == pytest.approx(0.5, abs=0.05)


def test_check_tells_every_method(folder: Path, bundle: Bundle) -> None:
    found = saliency_check.check_saliency(folder, str(bundle.path), 3, quiet)
    assert [score.method for score in found.scores] == list(EVERY)
    assert {score.count for score in found.scores} == {3}
    for score in found.scores:
        gone, come = found.curves[score.method]
        assert score.deletion == pytest.approx(float(np.trapezoid(gone)) / saliency_check.STEPS, abs=1e-5)
        assert come[-1] == pytest.approx(gone[0], abs=1e-5)
    assert len({round(float(curve[0, 0]), 5) for curve in found.curves.values()}) == 1  # the untouched pictures
    layers = ["logits", "fc3", "fc2", "conv1"]
    assert [(row.shuffled_to, row.method) for row in found.similarities] == [(la, m) for la in layers for m in METHODS]
    assert all(-1 <= row.rank_correlation <= 1 for row in found.similarities)
    last = {row.method: row.rank_correlation for row in found.similarities if row.shuffled_to == "conv1"}
    assert max(last.values()) < 0.99
    assert (len(found.views), len(found.maps), list(found.shuffled)) == (3, 3, layers)


def test_a_network_without_classes_or_with_branches(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    shutil.copytree(bundle.path, tmp_path / "headless")
    manifest = json.loads((tmp_path / "headless/manifest.json").read_text())
    del manifest["layers"]["logits"]
    (tmp_path / "headless/manifest.json").write_text(json.dumps(manifest))
    for command in ("invariance", "check"):
        rows_of(command, folder, "--model", tmp_path / "headless", code=4, said="has no logits")
    with pytest.raises(FailedPrecondition, match="no deconvnet"):
        backward_graph(branched(), PX)


def branched() -> bytes:
    model = onnx.load_from_string(tiny_graph())
    model.graph.node[-1].input[0] = "both"
    model.graph.node.insert(len(model.graph.node) - 1, onnx.helper.make_node("Sum", ["fc7", "fc7"], ["both"]))
    return bytes(model.SerializeToString())


# Evolution


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs of a run: the second network answers twice as loudly from conv1 on."""
    folder = tmp_path_factory.mktemp("run")
    facts = TrainingRecord(Plan("alexnet-64"), ["c0", "c1"], {}, "drawn", "here", 1, 1.0, 1, 0.0, 0.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = find_network("alexnet-64").build(2).eval()
    TrainedNetwork(module, facts).save(folder / "epoch-2.pt")
    norm = next(m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d))
    with torch.no_grad():
        norm.weight.mul_(2)
        norm.bias.mul_(2)
    TrainedNetwork(module, facts).save(folder / "epoch-10.pt")
    (folder / "state.pt").write_bytes(b"of no interest")
    return folder


def test_evolution(folder: Path, run_folder: Path, tmp_path: Path) -> None:
    rows = rows_of("evolution", run_folder, "--pictures", folder, "--output", tmp_path)
    assert len(rows) == 5 * 6 * 2
    assert list(rows[0]) == ["layer", "unit", "epoch", "value", "picture"]
    assert [row["epoch"] for row in rows[:4]] == [2, 10, 2, 10]
    assert [row["layer"] for row in rows[::12]] == [f"conv{i}" for i in range(1, 6)]
    for one, two in zip(rows[:12:2], rows[1:12:2], strict=True):
        assert one["unit"] == two["unit"]
        assert two["value"] == pytest.approx(2 * float(str(one["value"])), rel=1e-2)
        assert one["picture"] == two["picture"]
        assert (folder / str(one["picture"])).is_file()
    assert len(read_csv(tmp_path / "evolution.csv")) == 60
    assert is_drawing(tmp_path / "evolution.png")


def test_a_projection_is_cut_to_what_its_unit_sees(folder: Path, run_folder: Path, tmp_path: Path) -> None:
    shutil.copy(run_folder / "epoch-2.pt", tmp_path)
    stages = project_epochs(tmp_path, folder, quiet)
    sizes = {layer: {s.pixels.shape for s in stages if s.layer == layer} for layer in ("conv1", "conv5")}
    assert all(max(shape) <= 5 for shape in sizes["conv1"])  # filters of 5 x 5
    assert all(min(shape[:2]) > 40 for shape in sizes["conv5"])
    loud = [stage for stage in stages if stage.value > 0]
    assert loud
    assert all(np.abs(stage.pixels).max() > 0 for stage in loud)


def test_runs_that_kept_nothing_or_are_mixed(folder: Path, run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"")
    rows_of("evolution", tmp_path, "--pictures", folder, code=3, said="holds no epoch-N.pt")
    rows_of("evolution", tmp_path / "nowhere", "--pictures", folder, code=3, said="does not exist")
    (tmp_path / "epoch-1.pt").write_bytes(b"nonsense")
    with pytest.raises(DataLoss):
        project_epochs(tmp_path, folder, quiet)
    facts = TrainingRecord(Plan("zfnet-64"), ["c0", "c1"], {}, "drawn", "here", 1, 1.0, 1, 0.0, 0.0)
    shutil.copy(run_folder / "epoch-2.pt", tmp_path / "epoch-1.pt")
    TrainedNetwork(find_network("zfnet-64").build(2), facts).save(tmp_path / "epoch-2.pt")
    with pytest.raises(InvalidArgument, match="holds zfnet-64, but earlier epochs hold alexnet-64"):
        project_epochs(tmp_path, folder, quiet)


# The commands


def test_the_commands_print_and_draw(folder: Path, bundle: Bundle, dogs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("--model", bundle.path, "--output", out)
    moved = rows_of("invariance", folder, "--count", 2, *words)
    assert list(moved[0]) == ["transform", "amount", "conv5", "fc7", "probability"]
    assert len(read_csv(out / "invariance.csv")) == 2 * len(moved)
    masked = rows_of("correspondence", dogs, *words)
    assert [row["part"] for row in masked] == [row["part"] for row in read_csv(out / "correspondence.csv")]
    checked = rows_of("check", folder, "--count", 2, *words)
    assert [row["method"] for row in checked[:7]] == list(EVERY)
    assert [row["method"] for row in read_csv(out / "scores.csv")] == list(EVERY)
    assert len(read_csv(out / "randomisation.csv")) == len(checked) - 7
    assert len(read_csv(out / "curves.csv")) == 7 * 2 * (saliency_check.STEPS + 1)
    for name in ("invariance", "correspondence", "curves", "maps", "randomisation", "shuffled"):
        assert is_drawing(out / f"{name}.png"), name
    shown = CliRunner().invoke(main, ["explain", "check", str(folder), "--model", str(bundle.path), "--count", "1"])
    assert shown.exit_code == 0
    assert "rank_correlation" in shown.stdout


def test_an_output_that_is_a_file(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for command in ("invariance", "correspondence", "check"):
        rows_of(command, folder, "--model", bundle.path, "--output", tmp_path / "file", code=2)
        rows_of(command, tmp_path / "nowhere", "--model", bundle.path, code=3)
