"""A teacher's answers are those of its bundle on the same views, and a network learns them."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fc7.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from fc7_models.networks import find_network
from fc7_models.training.loop import train
from fc7_models.training.plan import Plan
from fc7_models.training.teacher import Distillation, Teacher, load_teacher
from fc7_models.training.trained_network import load_trained
from fc7_models.training.trainer import Trainer, normalise
from fc7_service.bundle.folder import open_bundle, shipped_bundles
from fc7_service.features.preprocess import preprocess_views

CPU = torch.device("cpu")
PLAN = Plan("zfnet-64", epochs=1, batch=16, learning_rate=0.05)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of two colours."""
    root: Path = tmp_path_factory.mktemp("data")
    for name, colour in (("red", (200, 60, 60)), ("blue", (60, 60, 200))):
        (root / name).mkdir()
        for i in range(20):
            noise = np.random.default_rng(i).integers(-30, 30, (68, 68, 3))
            Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(root / name / f"{i:02d}.png")
    return root


def as_png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def test_it_sees_the_students_views() -> None:
    bundle = open_bundle(shipped_bundles()["alexnet-64"])
    teacher, student = Teacher(bundle, CPU), find_network("zfnet-64")
    pixels = torch.randint(0, 256, (3, 3, 64, 64), generator=torch.Generator().manual_seed(0)).float()
    features, logits = teacher.answer(normalise(pixels, student), student)
    assert (teacher.layer, teacher.dims) == ("fc7", (1024, 200))
    picture = Image.fromarray(pixels[0].byte().permute(1, 2, 0).numpy())
    alone = preprocess_views(as_png(picture), replace(bundle.recipe, resize_px=64), 1)
    wanted = teacher._run(alone, ["fc7", "logits"])
    np.testing.assert_allclose(features[0], wanted[0][0], atol=1e-3)
    np.testing.assert_allclose(logits[0], wanted[1][0], atol=1e-3)


def test_the_loss_falls_to_nothing_where_both_agree() -> None:
    torch.manual_seed(0)
    loss, fc7 = Distillation(8, (5, 4)), torch.rand(6, 8)
    own = loss.features(fc7).detach(), loss.logits(fc7).detach()
    assert loss(fc7, *own).item() == pytest.approx(0, abs=1e-6)
    assert loss(fc7, 3 * own[0], own[1]).item() == pytest.approx(0, abs=1e-6)  # only the direction of features counts
    assert loss(fc7, own[0], own[1].flip(1)).item() > 0.01
    assert loss(fc7, -own[0], own[1]).item() == pytest.approx(2, abs=1e-5)


def test_a_run_with_a_teacher_learns_from_it_and_continues(folder: Path, tmp_path: Path) -> None:
    losses: list[float] = []
    plan = replace(PLAN, epochs=2)

    def run(teacher: str | None, *, stop: int | None = None) -> None:
        def report(state: object) -> None:
            losses.append(state.loss)  # type: ignore[attr-defined]
            if stop is not None and len(losses) > stop:
                raise KeyboardInterrupt

        train([folder], plan, tmp_path, report, teacher=Path(teacher) if teacher else None)

    with pytest.raises(KeyboardInterrupt):
        run("alexnet-64", stop=3)  # after the first epoch was saved
    with pytest.raises(FailedPrecondition, match="another teacher"):
        run(None)
    run("alexnet-64")
    trained = load_trained(tmp_path / "trained.pt")
    assert trained.record.teacher == "alexnet-64"
    assert set(trained.module.state_dict()) == set(find_network("zfnet-64").build(2).state_dict())
    assert losses[-1] < losses[0]


def test_the_teacher_changes_what_is_learnt(folder: Path, tmp_path: Path) -> None:
    weights = []
    for teacher in (None, Path("alexnet-64")):
        kept = tmp_path / str(teacher)
        weights.append(train([folder], PLAN, kept, lambda _: None, teacher=teacher).module.state_dict()["fc7.weight"])
    assert not torch.equal(*weights)


def test_a_bundle_without_logits_cannot_teach() -> None:
    bundle = open_bundle(shipped_bundles()["alexnet-64"])
    others = {name: layer for name, layer in bundle.layers.items() if name != "logits"}
    with pytest.raises(InvalidArgument, match="it has no layer 'logits', only conv5"):
        Teacher(replace(bundle, layers=others), CPU)
    alone = {name: bundle.layers[name] for name in ("logits", "conv5_pooled")}
    with pytest.raises(InvalidArgument, match="no layer but 'logits' takes pictures of 64 pixels"):
        Teacher(replace(bundle, layers=alone), CPU)


def test_a_teacher_that_does_not_exist_is_named() -> None:
    with pytest.raises(NotFound, match="efficientnet-lite9"):
        load_teacher(Path("efficientnet-lite9"), CPU)


def test_a_device_without_memory_says_how_to_continue(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(*_: object) -> float:
        raise torch.OutOfMemoryError("tried to allocate 20 MiB")

    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(ResourceExhausted, match=r"memory for 16 views of 32 pixels.*continues from its last"):
        train([folder], PLAN, tmp_path, lambda _: None)
