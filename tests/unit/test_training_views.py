"""Robust views: resampling as Pillow does it, JPEG as libjpeg does it, pictures at their own sizes, matching views."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from fc7_models.data.training_set import read_training_set
from fc7_models.networks import find_network
from fc7_models.training.distortion import N_DRAWS, distort
from fc7_models.training.jpeg import jpeg_round_trip
from fc7_models.training.plan import make_plan
from fc7_models.training.process_group import ProcessGroup
from fc7_models.training.recipes import find_recipe
from fc7_models.training.resampling import BOX, CUBIC, TRIANGLE, blur_matrices, resample, resampling_matrices
from fc7_models.training.trainer import Trainer, TrainingSetup, contrastive_loss

CPU = ProcessGroup(torch.device("cpu"))
PILLOW = {BOX: Image.Resampling.BOX, TRIANGLE: Image.Resampling.BILINEAR, CUBIC: Image.Resampling.BICUBIC}


def drawn(height: int, width: int, seed: int = 0) -> Image.Image:
    """Return a smooth picture with some noise."""
    generator = np.random.default_rng(seed)
    small = Image.fromarray(generator.integers(0, 256, (6, 6, 3)).astype(np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    return Image.fromarray((smooth + generator.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8))


def planes(image: Image.Image) -> Tensor:
    return torch.tensor(np.asarray(image)).permute(2, 0, 1)[None].float()


def axis(first: float, length: float, n_out: int, kernel: int, *, n_in: int, antialias: float = 1.0) -> Tensor:
    """Return the matrix of one picture, with room for three rows more than it needs."""
    values = (torch.tensor([value]) for value in (first, length, float(n_out)))
    rest = (torch.tensor([kernel]), torch.tensor([antialias]))
    return resampling_matrices(*values, *rest, n_in=torch.tensor([float(n_in)]), shape=(n_out + 3, n_in))


@pytest.mark.parametrize("kernel", PILLOW)
@pytest.mark.parametrize("size", [17, 40, 89])
def test_resampling_is_that_of_pillow(kernel: int, size: int) -> None:
    image, box = drawn(40, 50), (5, 3, 45, 37)
    wanted = np.asarray(image.resize((size, size), PILLOW[kernel], box), np.float32)
    rows, columns = axis(3, 34, size, kernel, n_in=40), axis(5, 40, size, kernel, n_in=50)
    found = resample(planes(image), rows, columns)[0, :, :size, :size].permute(1, 2, 0).numpy()
    inner = slice(3, -3)  # Pillow sees no pixels outside the box, we do
    assert np.abs(found.clip(0, 255) - wanted)[inner, inner].max() < 2


def test_rows_beyond_the_size_repeat_the_last_and_mirroring_reads_backwards() -> None:
    matrix = axis(0, 20, 10, TRIANGLE, n_in=20)
    assert torch.equal(matrix[0, 10:], matrix[0, 9:10].expand(3, -1))
    torch.testing.assert_close(axis(20, -20, 10, TRIANGLE, n_in=20)[0, :10], matrix[0, :10].flip(0))
    torch.testing.assert_close(matrix.sum(2), torch.ones(1, 13))


def test_without_reach_a_box_takes_the_nearest_pixel() -> None:
    matrix = axis(0, 20, 7, BOX, n_in=20, antialias=0.0)
    assert torch.equal(matrix[0, :7].argmax(1), ((torch.arange(7) + 0.5) * 20 / 7).long())
    assert set(matrix.unique().tolist()) == {0, 1}


def test_blurs_keep_means_and_sharpening_undoes_some_of_them() -> None:
    x = planes(drawn(32, 32))
    blur, sharpen = (blur_matrices(torch.tensor([1.0]), torch.tensor([amount]), 32) for amount in (1.0, -0.8))
    soft, nothing = resample(x, blur, blur), blur_matrices(torch.tensor([1.0]), torch.tensor([0.0]), 32)
    assert torch.equal(resample(x, nothing, nothing), x)
    assert soft.mean().item() == pytest.approx(x.mean().item(), abs=1.5)
    assert soft.diff(dim=3).abs().mean() < 0.8 * x.diff(dim=3).abs().mean()
    back = resample(soft, sharpen, sharpen)
    assert (back - x).abs().mean() < (soft - x).abs().mean()


@pytest.mark.parametrize("quality", [30, 60, 95])
def test_compression_is_that_of_libjpeg(quality: int) -> None:
    images = [drawn(48, 64, seed) for seed in range(3)]
    x = torch.cat([planes(image) for image in images])
    found = jpeg_round_trip(x, torch.tensor([float(quality)] * 3))
    files = [io.BytesIO() for _ in images]
    for image, file in zip(images, files, strict=True):
        image.save(file, "JPEG", quality=quality, subsampling="4:2:0")
    wanted = torch.cat([planes(Image.open(file).convert("RGB")) for file in files])
    lost = (wanted - x).abs().mean()
    assert (found - wanted).abs().mean() < 0.25 * lost + 0.5
    assert (found - x).abs().mean().item() == pytest.approx(lost.item(), rel=0.1)


def test_each_picture_has_its_own_quality() -> None:
    x = planes(drawn(32, 32)).expand(2, -1, -1, -1)
    lost = (jpeg_round_trip(x, torch.tensor([20.0, 90.0])) - x).abs().mean((1, 2, 3))
    assert lost[0] > 1.5 * lost[1]


def test_distorted_views_show_all_that_they_are_said_to() -> None:
    """Of a picture whose left is red and right is blue: mirrored, grey, bright, small crops, each as often as told."""
    n = 600
    x = torch.zeros(n, 3, 48, 48)
    x[:, 0, :, :24], x[:, 2, :, 24:] = 200, 200
    draws = torch.rand(n, N_DRAWS, generator=torch.Generator().manual_seed(0))
    views = distort(x.to(torch.uint8), 32, draws)
    left, right = views[..., :8].mean((2, 3)), views[..., -8:].mean((2, 3))
    is_grey = (views - views.mean(1, keepdim=True)).abs().amax((1, 2, 3)) < 1
    assert is_grey.float().mean().item() == pytest.approx(0.2, abs=0.05)
    is_mirrored = (left[:, 2] > left[:, 0]) & (right[:, 0] > right[:, 2])
    is_upright = (left[:, 0] > left[:, 2]) & (right[:, 2] > right[:, 0])
    assert is_mirrored.sum().item() == pytest.approx(is_upright.sum().item(), rel=0.25)
    assert views.mean((1, 2, 3)).std() > 5
    torch.testing.assert_close(views[7:9], distort(x[7:9].to(torch.uint8), 32, draws[7:9]))


def write(folder: Path, px: int, n: int = 20) -> Path:
    for i, name in enumerate(("a", "b")):
        (folder / name).mkdir(parents=True)
        for j in range(n):
            drawn(px, px + 4, 100 * px + 50 * i + j).save(folder / name / f"{j:02d}.png")
    return folder


def test_pictures_are_kept_at_their_own_sizes_and_seen_twice(tmp_path: Path) -> None:
    folders = [write(tmp_path / f"p{px}", px) for px in (40, 90, 200)]
    network, recipe = find_network("alexnet-64"), find_recipe("robust")
    pictures = read_training_set(folders, network.recipe, tmp_path / "cache", has_heads=True, source_px=128)
    assert [part.shape[1:] for part in pictures.parts] == [(px, px, 3) for px in (40, 90, 128)]
    assert pictures.held_out.shape[1:] == (68, 68, 3)
    job = TrainingSetup(replace(make_plan("alexnet-64", recipe="robust", has_heads=True), batch=32), network, recipe)
    trainer = Trainer(job, pictures, CPU)
    x, labels = next(trainer.batches(0))
    assert (x.shape, trainer.n_steps) == ((32, 3, 32, 32), 2 * len(pictures) // 32)
    assert torch.equal(labels[::2], labels[1::2])
    assert len(labels.unique()) > 2
    assert not torch.equal(x[::2], x[1::2])
    assert math.isfinite(trainer.step(x, labels))


def test_views_that_look_alike_find_each_other() -> None:
    torch.manual_seed(0)
    pictures = torch.rand(8, 16, 3, 3)
    pairs = pictures.repeat_interleave(2, 0)
    good = contrastive_loss(pairs, 2)
    assert good < 0.1
    assert contrastive_loss(torch.rand(16, 16, 3, 3), 2) > 10 * good
    shuffled = pairs[torch.tensor([0, 2, 1, 3, *range(4, 16)])]
    assert contrastive_loss(shuffled, 2) > 2 * good


def test_likeness_teaches() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 8, 3)
    x = torch.rand(6, 3, 8, 8).repeat_interleave(2, 0) + 0.3 * torch.rand(12, 3, 8, 8)
    optimizer = torch.optim.SGD(layer.parameters(), 0.05)
    values = []
    for _ in range(20):
        optimizer.zero_grad()
        value = contrastive_loss(layer(x).relu(), 2)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.9 * values[0]
