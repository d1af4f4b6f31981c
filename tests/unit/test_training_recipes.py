"""The papers' recipes do what their papers say; copies of validation pictures are found."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from sklearn.datasets import load_digits
from torch import nn
from torch.optim.swa_utils import AveragedModel

from fc7.errors import InvalidArgument, NotFound
from fc7_models.data.dataset import read_dataset
from fc7_models.data.near_duplicates import BETWEEN_FOLDERS, WITHIN_FOLDER, find_near_duplicates
from fc7_models.data.training_set import read_training_set
from fc7_models.export.model_card import write_card
from fc7_models.networks import find_network
from fc7_models.training import augmentation, distortion
from fc7_models.training.loop import Progress, train
from fc7_models.training.muon import Muon
from fc7_models.training.optimizers import limit_filter_rms, make_optimizers
from fc7_models.training.plan import make_plan
from fc7_models.training.process_group import ProcessGroup
from fc7_models.training.recipes import RECIPES, find_recipe
from fc7_models.training.schedule import DROPS, PATIENCE, Plateau, cosine_factor
from fc7_models.training.trained_network import TrainedNetwork, TrainingRecord
from fc7_models.training.trainer import Trainer, TrainingSetup, ramped_average
from fc7_service.bundle.recipe import Recipe

CPU = ProcessGroup(torch.device("cpu"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight pictures of 64 pixels in two classes, six to train on."""
    for split, n in (("train", 3), ("val", 1)):
        for c, name in enumerate(("dark", "light")):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for i in range(n):
                noise = np.random.default_rng(100 * c + 10 * n + i).integers(0, 120, (64, 64, 3))
                Image.fromarray((noise + 120 * c).astype(np.uint8)).save(tmp_path / "data" / split / name / f"{i}.png")
    return tmp_path / "data"


def test_the_plans_are_those_of_the_papers() -> None:
    krizhevsky, zeiler = make_plan("alexnet", recipe="krizhevsky2012"), make_plan("zfnet", recipe="zeiler2013")
    assert (krizhevsky.epochs, krizhevsky.batch, krizhevsky.learning_rate) == (90, 128, 0.01)
    assert (zeiler.epochs, zeiler.batch, zeiler.learning_rate) == (70, 128, 0.01)
    assert (make_plan("alexnet-64").batch, make_plan("alexnet-64").learning_rate) == (256, 0.17)
    assert make_plan("alexnet-64", epochs=3).epochs == 3
    with pytest.raises(NotFound, match="zeiler2013"):
        make_plan("alexnet", recipe="nobody1999")


@pytest.mark.parametrize("name", RECIPES)
def test_the_optimizer_is_sgd_and_spares_biases(name: str) -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    (optimizer,) = make_optimizers(module, find_recipe(name), 0.01)
    weights, others = optimizer.param_groups
    assert (weights["momentum"], weights["weight_decay"], others["weight_decay"]) == (0.9, 5e-4, 0)
    assert weights["nesterov"] == (name in {"modern", "robust"})
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 3]


def test_muon_takes_the_filters_that_normalisation_follows() -> None:
    module = find_network("alexnet-64").build(3)
    sgd, muon = make_optimizers(module, find_recipe("modern"), 0.1)
    assert [p.ndim for group in muon.param_groups for p in group["params"]] == [4] * 5
    assert sorted(p.ndim for group in sgd.param_groups for p in group["params"]) == [1] * 10 + [2] * 3
    assert len(make_optimizers(module, find_recipe("zeiler2013"), 0.1)) == 1
    assert len(make_optimizers(find_network("lenet-5").build(3), find_recipe("modern"), 0.1)) == 1


def test_muon_takes_them_also_where_statistics_are_shared() -> None:
    module = nn.SyncBatchNorm.convert_sync_batchnorm(find_network("alexnet-64").build(3))
    assert len(make_optimizers(module, find_recipe("modern"), 0.1)) == 2


def test_the_rate_warms_up_over_some_steps() -> None:
    """A twentieth of a long run, 200 steps of a short one, half of one that is shorter still."""
    for n_steps, n_warm in ((10_000, 500), (1000, 200), (20, 10)):
        shares = [cosine_factor(step, n_steps) for step in range(n_steps)]
        assert 0 < shares[0] < 1e-3
        assert shares.index(max(shares)) == n_warm


def test_the_average_of_few_steps_keeps_no_initial_weights() -> None:
    layer = nn.Linear(1, 1, bias=False)
    average = AveragedModel(layer, multi_avg_fn=ramped_average(0.998))
    for value in (0.0, *[1.0] * 30):
        nn.init.constant_(layer.weight, value)
        average.update_parameters(layer)
    assert average.module.weight.item() > 0.99


def test_a_step_of_muon_is_orthogonal_and_as_long_as_asked() -> None:
    torch.manual_seed(0)
    filters = nn.Parameter(torch.randn(8, 3, 3, 3))
    before = filters.detach() * (8**0.5 / filters.detach().norm())
    optimizer = Muon([filters], lr=0.1)
    filters.grad = torch.randn(8, 3, 3, 3) * torch.logspace(-0.5, 0.5, 8)[:, None, None, None]
    optimizer.step()
    step = ((before - filters.detach()) / 0.1).flatten(1)
    found, given = torch.linalg.svdvals(step), torch.linalg.svdvals(filters.grad.flatten(1))
    assert found.sub(1).abs().max() < 0.5
    assert given.max() / given.min() > 5
    state = optimizer.state_dict()
    again = Muon([nn.Parameter(filters.detach().clone())], lr=0.1)
    again.load_state_dict(state)
    assert torch.equal(next(iter(again.state.values()))["momentum"], filters.grad)


def test_the_learning_rate_falls_three_times_where_the_error_stalls() -> None:
    plateau, shares = Plateau(), []
    for error in [0.9, 0.8, *[0.8] * (PATIENCE - 1), 0.7, *[0.75] * (PATIENCE * (DROPS + 2))]:
        plateau.update(error)
        shares.append(plateau.factor)
    assert shares[: PATIENCE + 2] == [1.0] * (PATIENCE + 2)
    assert sorted(set(shares)) == pytest.approx([1e-3, 1e-2, 1e-1, 1])
    again = Plateau()
    again.load_state_dict(plateau.state_dict())
    assert (again.factor, again.best) == (plateau.factor, 0.7)


def test_random_crops_and_ten_fixed_ones() -> None:
    pixels = torch.arange(256 * 256).reshape(1, 1, 256, 256).expand(400, 3, -1, -1)
    draws = torch.rand(400, distortion.N_DRAWS, generator=torch.Generator().manual_seed(0))
    places = {}
    for cut in (augmentation.random_crops, augmentation.ten_crops):
        rows = cut(pixels, 224, draws)[:, 0, 0]  # (400, 224)
        places[cut] = {int(min(row[0], row[-1])) for row in rows}
        assert 150 < sum(row[0] > row[-1] for row in rows) < 250  # mirrored
        least, most = torch.zeros(1, distortion.N_DRAWS), torch.full((1, distortion.N_DRAWS), 1 - 2**-24)
        assert cut(pixels[:1], 224, least)[0, 0, 0, -1] == 0
        assert cut(pixels[:1], 224, most)[0, 0, 0, 0] in (32 * 257, 16 * 257)
    assert len(places[augmentation.random_crops]) > 250
    assert places[augmentation.ten_crops] == {0, 32, 32 * 256, 32 * 257, 16 * 257}


def test_colours_shift_along_their_principal_directions() -> None:
    """Of grey pictures only brightness is left, by eigenvalue and deviation."""
    grey = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 1)).astype(np.uint8).repeat(3, axis=3)
    colours = augmentation.principal_colours(grey)
    variance = 3 * (grey[..., 0] / 255).var()
    assert colours[:2].abs().max() < 1e-3
    assert colours[2].abs().tolist() == pytest.approx([255 * variance / math.sqrt(3)] * 3, rel=1e-3)
    draws = torch.rand(5000, distortion.N_DRAWS, generator=torch.Generator().manual_seed(0))
    shifts = augmentation.shift_colours(torch.zeros(5000, 3, 1, 1), colours, 0.1, draws)[:, :, 0, 0]
    assert shifts.std(0).tolist() == pytest.approx([25.5 * variance / math.sqrt(3)] * 3, rel=0.05)
    assert shifts.mean(0).abs().max() < 0.5


def test_filters_are_brought_back_to_their_radius() -> None:
    module = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Linear(4, 4))
    with torch.no_grad():
        module[0].weight[0] = 0.5
        module[0].weight[1] = 0.05
        module[1].weight.fill_(7)
    limit_filter_rms(module, 0.1)
    assert module[0].weight[0].square().mean().sqrt().item() == pytest.approx(0.1)
    assert module[0].weight[1].mean().item() == pytest.approx(0.05)
    assert module[1].weight.mean() == 7


def test_a_step_of_2013_limits_the_filters(folder: Path, tmp_path: Path) -> None:
    network, recipe = find_network("alexnet-64"), find_recipe("zeiler2013")
    pictures = read_training_set([folder], network.recipe, tmp_path / "cache")
    trainer = Trainer(TrainingSetup(make_plan("alexnet-64", recipe="zeiler2013"), network, recipe), pictures, CPU)
    with torch.no_grad():
        trainer.module.conv1[0].weight.fill_(3)
    ((x, labels),) = trainer.batches(0)
    assert x.shape == (6, 3, 56, 56)
    trainer.step(x, labels)
    assert trainer.module.conv1[0].weight.square().mean((1, 2, 3)).sqrt().max().item() <= 0.1001


@pytest.mark.parametrize(("name", "recipe"), [("lenet-5", "krizhevsky2012"), ("alexnet-64", "zeiler2013")])
def test_a_papers_recipe_trains_and_says_so(name: str, recipe: str, folder: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    trained = train([folder], make_plan(name, recipe=recipe, epochs=6), tmp_path / "state", seen.append, processes=CPU)
    rates = [float(line.split(",")[4]) for line in (tmp_path / "state" / "log.csv").read_text().splitlines()[1:]]
    assert rates[0] == 0.01
    assert rates == sorted(rates, reverse=True)
    card = write_card(trained, "n")
    assert f"recipe `{recipe}`: 6 epochs, batch 128, learning rate 0.01, divided by ten" in card
    assert ("RMS of convolution filters at most 0.1" in card) == (recipe == "zeiler2013")
    assert ("principal colours shifted by 0.1" in card) == (recipe == "krizhevsky2012")


def facts_of(network: str, *, has_heads: bool = False, epochs: int | None = None) -> TrainingRecord:
    """Return those of a run of ten epochs, or of its first ``epochs``."""
    plan = make_plan(network, epochs=10, has_heads=has_heads)
    return TrainingRecord(plan, ["a", "b"], {}, "fruit + more", "test", 10, 1.0, 5, 0.6, 1.0, epochs=epochs)


def card_of(facts: TrainingRecord) -> str:
    return write_card(TrainedNetwork(nn.Identity(), facts), "n")


def test_a_card_claims_nothing_of_pictures_and_licence_that_code_cannot_know() -> None:
    card = card_of(facts_of("lenet-5")).lower()
    assert not [word for word in ("licen", "apache", "2010", "food", "everyday") if word in card]


@pytest.mark.parametrize(
    ("network", "epochs", "wanted"),
    [("alexnet-64", None, "that grow from 32 to 56"), ("alexnet-64", 5, "that grow from 32 to 40"),
     ("alexnet-64", 1, "of 32"), ("lenet-5", None, "of 32")],
)  # fmt: skip
def test_a_card_tells_the_sizes_of_crops_that_were_reached(network: str, epochs: int | None, wanted: str) -> None:
    assert f"training crops {wanted} pixels |" in card_of(facts_of(network, epochs=epochs))


def test_a_card_says_whose_classes_they_are() -> None:
    assert "| Classes | 2 |" in card_of(facts_of("lenet-5"))
    assert "| Classes | 2 in the first folder |" in card_of(facts_of("lenet-5", has_heads=True))


def test_a_folder_is_called_by_its_own_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert read_training_set([Path()], find_network("lenet-5").recipe, tmp_path / "cache").data == "data"


def test_full_size_networks_see_crops_of_256_pixels(folder: Path, tmp_path: Path) -> None:
    for name, recipe, px in (("alexnet", "krizhevsky2012", 227), ("zfnet", "zeiler2013", 224)):
        network = find_network(name)
        pictures = read_training_set([folder], network.recipe, tmp_path / "cache")
        assert pictures.held_out.shape[1:] == (256, 256, 3)
        job = TrainingSetup(make_plan(name, recipe=recipe), network, find_recipe(recipe))
        trainer = Trainer(job, pictures, CPU)
        ((x, _),) = trainer.batches(0)
        assert x.shape == (6, 3, px, px)
        assert -130 < x.min() < -80  # raw values less the mean


def photograph(data: Path, i: int) -> Image.Image:
    paths = sorted(p for p in (data / "photos").rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png"})
    return Image.open(paths[i]).convert("RGB")


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def cut(image: Image.Image) -> Image.Image:
    """Return the square in the middle."""
    side = min(image.size)
    return ImageOps.fit(image, (side, side))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "itself": cut,
    "smaller": lambda image: cut(image).resize((40, 40)),
    "compressed": lambda image: jpeg(cut(image).resize((64, 64)), 30),
    "mirrored": lambda image: ImageOps.mirror(cut(image)),
    "darker": lambda image: ImageEnhance.Brightness(cut(image)).enhance(0.8),
    "squashed": lambda image: image,
}


@pytest.mark.parametrize("kind", COPIES)
def test_planted_copies_are_found_and_nothing_else(kind: str, photographs: Path) -> None:
    shapes = [(320, 240), (240, 320), (360, 240), (240, 360), (240, 240), (320, 240), (240, 320), (360, 240)]
    known = [ImageOps.fit(photograph(photographs, i), shape) for i, shape in enumerate(shapes)]
    fresh = [np.asarray(photograph(photographs, i).resize((64, 64))) for i in range(8, 16)]
    copies = [np.asarray(COPIES[kind](image).resize((64, 64))) for image in known]
    others = np.stack([np.asarray(cut(image).resize((64, 64))) for image in known])
    assert find_near_duplicates(np.stack([*fresh, *copies]), others).tolist() == [False] * 8 + [True] * 8


@pytest.mark.parametrize("kind", ["itself", "smaller", "compressed", "mirrored", "darker"])
def test_within_one_folder_copies_are_found_too(kind: str, photographs: Path) -> None:
    known = [ImageOps.fit(photograph(photographs, i), (240, 240)) for i in range(8)]
    others = np.stack([np.asarray(image.resize((64, 64))) for image in known])
    copies = np.stack([np.asarray(COPIES[kind](image).resize((64, 64))) for image in known])
    assert find_near_duplicates(copies, others, WITHIN_FOLDER).all()


def test_garments_on_one_ground_are_no_copies_but_for_very_few(photographs: Path) -> None:
    sets = [sorted((photographs / "clothing-mini" / split).rglob("*.jpg")) for split in ("train", "validation")]
    pixels, others = (np.stack([np.asarray(photo.resize((64, 64))) for photo in map(opened, paths)])
                      for paths in (sets[0][::4], sets[1]))  # fmt: skip
    assert find_near_duplicates(pixels, others, BETWEEN_FOLDERS).mean() < 0.005
    assert not find_near_duplicates(pixels, others, WITHIN_FOLDER).any()


def test_digits_which_show_little_but_their_shape_are_no_copies_but_for_few() -> None:
    greys = [Image.fromarray((255 - 15 * digit).astype(np.uint8)) for digit in load_digits().images[:700]]
    pixels = np.stack([np.asarray(grey.resize((64, 64)).convert("RGB")) for grey in greys])
    assert find_near_duplicates(pixels[:400], pixels[400:], BETWEEN_FOLDERS).mean() < 0.2
    assert find_near_duplicates(pixels[:400], pixels[400:], WITHIN_FOLDER).mean() < 0.05


def opened(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


def test_copies_are_left_out_and_counted(folder: Path, tmp_path: Path) -> None:
    held_out = Image.open(folder / "val" / "dark" / "0.png")
    held_out.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "train" / "dark" / "copy.png")
    trained = train([folder], make_plan("lenet-5", epochs=1), tmp_path / "state", lambda progress: None, processes=CPU)
    assert (trained.record.n_near, trained.record.n_pictures) == (1, 6)
    assert trained.record.near == ["data/train/dark/copy.png"]
    assert "1 left out because a held-out picture is nearly the same" in write_card(trained, "n")
    for i in range(3):
        (folder / "train" / "dark" / f"{i}.png").unlink()
    assert len(read_dataset(folder, "train").paths) == 4
    with pytest.raises(InvalidArgument, match="every training picture of class 'dark' is nearly the same"):
        read_training_set([folder], Recipe(32, 32, 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), tmp_path / "other")
