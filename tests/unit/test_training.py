"""Data sets are read as documented; training learns, checkpoints and goes on where it stopped."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from denied import refuse_folder
from fc7.errors import DataLoss, FailedPrecondition, ImageDecodeError, InvalidArgument, NotFound
from fc7_models.data import training_set
from fc7_models.data.dataset import load_pixels, read_dataset
from fc7_models.data.training_set import read_training_set
from fc7_models.export.export_trained import export_bundle
from fc7_models.networks import find_network
from fc7_models.studies.evaluation import evaluate
from fc7_models.training.augmentation import AUGMENTATIONS
from fc7_models.training.distortion import N_DRAWS
from fc7_models.training.loop import Progress, train
from fc7_models.training.plan import Plan, make_plan
from fc7_models.training.recipes import Views
from fc7_models.training.trained_network import load_trained
from fc7_models.training.trainer import measure_accuracy
from fc7_service.bundle.folder import open_bundle


def picture(path: Path, colour: tuple[int, int, int], seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-30, 30, (64, 64, 3))
    Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An ImageFolder of two easy classes, one of them nested deeper."""
    for i in range(40):
        picture(tmp_path / "data" / "red" / f"{i:02d}.png", (200, 60, 60), i)
        picture(tmp_path / "data" / "blue" / "deep" / f"{i:02d}.png", (60, 60, 200), 100 + i)
    (tmp_path / "data" / "words.txt").write_text("red\tred thing, crimson\nblue\tblue thing\n")
    return tmp_path / "data"


def test_an_image_folder_of_any_depth(folder: Path) -> None:
    train_set, val, everything = (read_dataset(folder, s) for s in ("train", "val", "test"))  # type: ignore[arg-type]
    assert train_set.classes == ["blue", "red"]
    assert train_set.names["red"] == "red thing"
    assert (len(train_set.paths), len(val.paths), len(everything.paths)) == (76, 4, 80)
    assert not set(train_set.paths) & set(val.paths)


def test_tiny_imagenets_layout(tmp_path: Path) -> None:
    for i in range(3):
        for wnid in ("n01", "n02"):
            picture(tmp_path / "train" / wnid / "images" / f"{wnid}_{i}.png", (9, 9, 9), i)
    lines = []
    for i, wnid in enumerate(["n02", "n01", "n02"]):
        picture(tmp_path / "val" / "images" / f"val_{i}.png", (9, 9, 9), i)
        lines.append(f"val_{i}.png\t{wnid}\t0\t0\t1\t1\n")
    (tmp_path / "val" / "val_annotations.txt").write_text("".join(lines))
    assert len(read_dataset(tmp_path, "train").paths) == 6
    for split in ("val", "test"):
        assert read_dataset(tmp_path, split).labels == ("n02", "n01", "n02")  # type: ignore[arg-type]
    assert read_dataset(tmp_path / "val", "test").labels == ("n02", "n01", "n02")


def test_a_line_of_annotations_without_a_tab_is_named(tmp_path: Path) -> None:
    (tmp_path / "val_annotations.txt").write_text("0.png\tn01\n\n1.png n02\n")
    with pytest.raises(InvalidArgument, match=r"line 3 of .*val_annotations\.txt' has no tab"):
        read_dataset(tmp_path, "test")


@pytest.mark.parametrize("name", ["words.txt", "val_annotations.txt"])
def test_a_text_that_is_not_utf8_is_named(name: str, folder: Path) -> None:
    (folder / name).write_bytes("0.png\tcafé\n".encode("latin-1"))
    with pytest.raises(InvalidArgument, match=rf"{name}' is not UTF-8 \(byte 9\)"):
        read_dataset(folder, "test")


@pytest.mark.parametrize("name", ["a\tb", "a\nb", "a\x85b", os.fsdecode(b"caf\xe9")])
def test_a_class_whose_name_is_no_line_of_labels_is_refused(name: str, folder: Path) -> None:
    (folder / "red").rename(folder / name)
    with pytest.raises(InvalidArgument, match=r"Rename it") as caught:
        read_dataset(folder, "train")
    assert f"class {name!r}" in caught.value.message


def test_a_picture_of_any_name_is_decoded_and_a_broken_link_is_named(folder: Path, tmp_path: Path) -> None:
    recipe = find_network("lenet-5").recipe
    (folder / "red" / "00.png").rename(folder / "red" / os.fsdecode(b"\xe9.png"))
    assert len(load_pixels(read_dataset(folder, "train"), recipe, tmp_path / "cache")) == 76
    (folder / "red" / "01.png").unlink()
    (folder / "red" / "01.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(FailedPrecondition, match=r"red/01\.png' cannot be read: No such file"):
        load_pixels(read_dataset(folder, "train"), recipe, tmp_path / "cache")


def test_hidden_files_and_folders_are_passed_over(folder: Path) -> None:
    before = read_dataset(folder, "test")
    for name in (".hidden/0.png", "red/.thumbnails/0.png", "red/._0.png"):
        picture(folder / name, (9, 9, 9), 0)
    assert read_dataset(folder, "test") == before


def test_folders_that_cannot_be_trained_on(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(NotFound):
        read_dataset(tmp_path / "nope", "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidArgument, match="at least two classes"):
        read_dataset(tmp_path / "empty", "train")
    with pytest.raises(InvalidArgument, match="1 classes"):
        read_dataset(folder / "blue", "train")


def test_a_folder_that_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_folder(monkeypatch, folder / "blue" / "deep")
    with pytest.raises(FailedPrecondition, match=r"blue/deep' cannot be read"):
        read_dataset(folder, "train")


def test_too_few_pictures_to_hold_any_out(folder: Path, tmp_path: Path) -> None:
    for path in folder.rglob("2*.png"):
        path.unlink()
    assert len(read_dataset(folder, "val").paths) == 2
    for path in folder.rglob("1*.png"):
        path.unlink()
    for path in folder.rglob("3*.png"):
        path.unlink()
    with pytest.raises(InvalidArgument, match=r"0 val pictures of 0 classes: every 20th .* train/ and val/"):
        train([folder], Plan("alexnet-64"), tmp_path / "state", lambda progress: None)


def test_a_class_that_is_only_held_out_is_named_before_any_picture_is_decoded(tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "val/a", "val/c"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "0.png").write_bytes(b"no picture")
    with pytest.raises(InvalidArgument, match="class 'c'"):
        train([tmp_path / "data"], Plan("alexnet-64"), tmp_path / "state", lambda progress: None)


def test_a_damaged_picture_is_named(folder: Path, tmp_path: Path, tiny_bundle: Path) -> None:
    damaged = folder / "red" / "07.png"
    damaged.write_bytes(b"no picture")
    with pytest.raises(ImageDecodeError, match=r"red/07\.png'"):
        train([folder], Plan("alexnet-64"), tmp_path / "state", lambda progress: None)
    bundle = open_bundle(tiny_bundle)
    for i, name in enumerate(("red", "blue")):
        (folder / name).rename(folder / bundle.classes[i].id)
    with pytest.raises(ImageDecodeError, match=r"07\.png'"):
        evaluate(folder, str(tiny_bundle), lambda done, total: None)
    (folder / bundle.classes[0].id / "07.png").unlink()
    (folder / bundle.classes[0].id / "07.png").mkdir()
    assert all(path.is_file() for path in read_dataset(folder, "test").paths)


def test_fewer_pictures_than_a_batch_are_one_step_an_epoch(folder: Path, tmp_path: Path) -> None:
    plan = Plan("alexnet-64", epochs=1, learning_rate=0.01)
    trained = train([folder], plan, tmp_path / "state", lambda progress: None)
    state = torch.load(tmp_path / "state" / "state.pt", weights_only=True)
    assert trained.record.n_pictures == 76 < plan.batch
    assert state["average"]["n_averaged"] == 1


def test_a_state_that_is_cut_is_a_data_loss(folder: Path, tmp_path: Path) -> None:
    state = tmp_path / "state" / "state.pt"
    plan = Plan("alexnet-64", epochs=1)
    train([folder], plan, state.parent, lambda progress: None)
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(DataLoss, match=r"state\.pt' is damaged .* Delete it"):
        train([folder], plan, state.parent, lambda progress: None)


def test_splits_are_not_taken_for_classes(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("a", "b"):
            picture(tmp_path / split / name / "0.png", (9, 9, 9), 0)
    with pytest.raises(InvalidArgument, match="splits, not classes"):
        read_dataset(tmp_path, "train")
    assert read_dataset(tmp_path / "train", "test").classes == ["a", "b"]


def test_pixels_are_decoded_once(folder: Path, tmp_path: Path) -> None:
    data, recipe = read_dataset(folder, "train"), find_network("alexnet-64").recipe
    first = load_pixels(data, recipe, tmp_path / "cache")
    assert first.shape == (76, recipe.resize_px, recipe.resize_px, 3)
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").iterdir()}
    np.testing.assert_array_equal(first, load_pixels(data, recipe, tmp_path / "cache"))
    assert stamps == {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").iterdir()}


@pytest.mark.parametrize("views", AUGMENTATIONS)
def test_augmentation_keeps_range_and_size_and_follows_its_numbers(views: Views) -> None:
    pixels = torch.randint(0, 256, (6, 3, 64, 64), dtype=torch.uint8)
    draws = torch.rand(6, N_DRAWS)
    one = AUGMENTATIONS[views](pixels, 48, draws)
    assert one.shape == (6, 3, 48, 48)
    assert one.min() >= 0
    assert one.max() <= 255
    torch.testing.assert_close(one[4:], AUGMENTATIONS[views](pixels[4:], 48, draws[4:]))
    other = AUGMENTATIONS[views](pixels, 48, torch.rand(6, N_DRAWS))
    assert torch.equal(one, other) == (views == "whole")


class Stop(Exception):
    pass


def test_training_learns_goes_on_bit_equal_and_exports(folder: Path, tmp_path: Path) -> None:
    """Stopped after the first epoch and started again, it ends with the weights of a run that was not."""
    plan = Plan("alexnet-64", epochs=3, batch=16, learning_rate=0.02)
    seen: list[Progress] = []
    whole = train([folder], plan, tmp_path / "whole", seen.append)
    assert [p.epoch for p in seen if p.top1 is not None] == [1, 2, 3]
    assert whole.record.n_pictures == 76
    assert whole.record.n_validation == 4

    def stop(progress: Progress) -> None:
        if progress.top1 is not None:
            raise Stop

    with pytest.raises(Stop):
        train([folder], plan, tmp_path / "cut", stop)
    cut = train([folder], plan, tmp_path / "cut", seen.append)
    for name, weight in whole.module.state_dict().items():
        torch.testing.assert_close(cut.module.state_dict()[name], weight, rtol=0, atol=0)

    with pytest.raises(FailedPrecondition, match="another plan"):
        train([folder], replace(plan, epochs=4), tmp_path / "whole", seen.append)
    again = load_trained(tmp_path / "whole" / "trained.pt")
    assert again.record == whole.record
    bundle = export_bundle(again, tmp_path / "bundle", name="two")
    found = evaluate(folder, str(bundle.path), lambda done, total: None)
    assert found.count == 80
    assert found.top5 == 1.0
    assert (tmp_path / "whole" / "log.csv").read_text().count("\n") == 4


def test_the_commands_own_plan_learns_what_is_easy_in_few_steps(folder: Path, tmp_path: Path) -> None:
    """One step an epoch: neither the rate may be too high nor the average keep the initial weights."""
    trained = train([folder], make_plan("alexnet-64", epochs=20), tmp_path / "state", lambda progress: None)
    data = read_dataset(folder, "test")
    labels = torch.tensor([trained.record.classes.index(label) for label in data.labels])
    pixels = load_pixels(data, trained.network.recipe, tmp_path / "cache")
    assert measure_accuracy(trained.module, trained.network, pixels, labels)[0] >= 0.95


def test_a_run_that_diverges_is_told(folder: Path, tmp_path: Path) -> None:
    plan = Plan("lenet-5", epochs=3, batch=8, learning_rate=1e4)
    with pytest.raises(
        FailedPrecondition, match=r"'lenet-5' with recipe 'modern' diverged: .* epoch 1 .* guessing gives 0\.693"
    ):
        train([folder], plan, tmp_path / "state", lambda progress: None)
    assert not (tmp_path / "state" / "state.pt").exists()


def test_a_run_does_not_go_on_with_other_pictures(folder: Path, tmp_path: Path) -> None:
    plan = Plan("lenet-5", epochs=1)
    train([folder], plan, tmp_path / "state", lambda progress: None)
    changed = folder / "red" / "03.png"
    stat = changed.stat()
    os.utime(changed, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    with pytest.raises(FailedPrecondition, match="other pictures"):
        train([folder], plan, tmp_path / "state", lambda progress: None)


def test_caches_that_are_cut_are_made_anew(folder: Path, tmp_path: Path) -> None:
    recipe, cache = find_network("lenet-5").recipe, tmp_path / "cache"
    whole = read_training_set([folder], recipe, cache)
    parts = [np.array(part) for part in whole.parts]
    for path in cache.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    again = read_training_set([folder], recipe, cache)
    assert again.digest == whole.digest
    for part, before in zip(again.parts, parts, strict=True):
        np.testing.assert_array_equal(part, before)


def test_copies_are_sought_anew_by_other_rules(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = find_network("lenet-5").recipe
    assert not read_training_set([folder], recipe, tmp_path / "cache").near_duplicates
    monkeypatch.setattr(training_set, "METHOD", "others")
    monkeypatch.setattr(training_set, "find_near_duplicates", lambda pixels, others, rule: np.arange(len(pixels)) == 0)
    assert read_training_set([folder], recipe, tmp_path / "cache").near_duplicates == ["data/blue/deep/00.png"]


@pytest.mark.parametrize("damage", [{"module": None}, {"plateau": 3}, {"epoch": "x"}, {"rows": 7}])
def test_a_state_whose_parts_are_damaged_is_a_data_loss(
    damage: dict[str, object], folder: Path, tmp_path: Path
) -> None:
    state, plan = tmp_path / "state" / "state.pt", Plan("lenet-5", epochs=1)
    train([folder], plan, state.parent, lambda progress: None)
    torch.save(torch.load(state, weights_only=True) | damage, state)
    with pytest.raises(DataLoss, match=r"state\.pt' is damaged .* Delete it"):
        train([folder], plan, state.parent, lambda progress: None)
    weights = torch.load(state.with_name("trained.pt"), weights_only=True)
    weights["facts"]["top1"] = "x"
    torch.save(weights, state.with_name("trained.pt"))
    with pytest.raises(DataLoss, match="damaged"):
        load_trained(state.with_name("trained.pt"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: state.pop("average"), "another version of fc7"),
        (lambda state: state["module"].pop("fc8.bias"), "another version of fc7"),
        (lambda state: state["module"].update({"fc8.bias": torch.zeros(7)}), "another version of fc7"),
        (lambda state: state["optimizer0"]["param_groups"].pop(), "another version of fc7"),
        (lambda state: state["identity"]["recipe_settings"].update(ema_decay=0.9), "another version of its recipe"),
        (lambda state: state["identity"].update(epochs=7), r"another plan \(epochs 7, now 1\)"),
    ],
)
def test_a_checkpoint_of_another_version_is_not_called_damaged(
    change: Callable[[dict[str, Any]], object], reason: str, folder: Path, tmp_path: Path
) -> None:
    file, plan = tmp_path / "state" / "state.pt", Plan("lenet-5", epochs=1)
    train([folder], plan, file.parent, lambda progress: None)
    state = torch.load(file, weights_only=True)
    change(state)
    torch.save(state, file)
    with pytest.raises(FailedPrecondition, match=rf"was made with {reason}.* name another checkpoint folder"):
        train([folder], plan, file.parent, lambda progress: None)


def test_a_checkpoint_from_before_recipes_were_recorded_still_continues(folder: Path, tmp_path: Path) -> None:
    file, plan = tmp_path / "state" / "state.pt", Plan("lenet-5", epochs=1)
    before = train([folder], plan, file.parent, lambda progress: None)
    state = torch.load(file, weights_only=True)
    del state["identity"]["recipe_settings"]
    torch.save(state, file)
    assert train([folder], plan, file.parent, lambda progress: None).record == before.record


def test_a_run_tells_how_far_it_is_before_its_first_epoch_ends(folder: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    train([folder], Plan("lenet-5", epochs=1), tmp_path / "state", told.append)
    assert [one.step for one in told if one.epoch == 0] == list(range(1, told[-1].n_steps + 1))
    with pytest.raises(InvalidArgument, match=r"state\.pt' is the checkpoint .* the trained\.pt or an epoch-N\.pt"):
        load_trained(tmp_path / "state" / "state.pt")


def test_files_that_are_no_trained_network(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        load_trained(tmp_path / "nope.pt")
    (tmp_path / "junk.pt").write_bytes(b"junk")
    with pytest.raises(DataLoss, match="damaged"):
        load_trained(tmp_path / "junk.pt")
    torch.save({"weights": {}}, tmp_path / "other.pt")
    with pytest.raises(DataLoss):
        load_trained(tmp_path / "other.pt")


def test_classes_that_the_network_does_not_have(folder: Path, tiny_bundle: Path) -> None:
    with pytest.raises(InvalidArgument, match="blue"):
        evaluate(folder, str(tiny_bundle), lambda done, total: None)
