"""What the demonstration is made of: photographs, views of them, the baseline of raw pixels, the server process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import Ridge, RidgeClassifierCV

from fc7.cli import demo
from fc7.cli.folder_scan import FolderScan
from fc7.demo.experiment import Steps
from fc7.demo.photograph_views import (
    SCIKIT_IMAGE_FILES,
    VIEW_PX,
    VIEWS_PER_PHOTOGRAPH,
    Photograph,
    random_view,
    scikit_image_photographs,
    take_views,
)
from fc7.demo.pixel_baseline import nearest_rows, pixel_values, ridge_fits, ridge_labels
from fc7.demo.server_process import running_server
from fc7.errors import InvalidArgument, Unavailable

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:skimage")


def test_the_twenty_pictures_are_in_the_wheel() -> None:
    pictures = scikit_image_photographs()
    assert len({picture.name for picture in pictures}) == len(SCIKIT_IMAGE_FILES) == 20
    assert all(picture.path.is_file() for picture in pictures)


def test_views_are_the_same_every_time_and_differ_from_one_another(tmp_path: Path) -> None:
    photos = scikit_image_photographs()[:2]
    done: list[int] = []
    first, again = (take_views(photos, tmp_path / name, done.append) for name in "ab")
    assert done == [1, 2, 1, 2]
    assert [v.photograph for v in first] == [photo.name for photo in photos for _ in range(VIEWS_PER_PHOTOGRAPH)]
    assert [v.path.read_bytes() for v in first] == [v.path.read_bytes() for v in again]
    assert len({v.path.read_bytes() for v in first}) == len(first)
    with Image.open(first[0].path) as image:
        assert image.size == (VIEW_PX, VIEW_PX)


def test_a_view_stays_inside_its_photograph() -> None:
    inside = Image.new("RGB", (300, 200), "white")  # what lies outside would be black
    for seed in range(60):
        pixels = np.asarray(random_view(inside, np.random.default_rng(seed)))
        assert pixels.min() == pixels.max()


def test_views_keep_to_the_shares_and_the_light() -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)).resize((480, 360))
    views = [np.asarray(random_view(image, np.random.default_rng(seed)), float) for seed in range(300)]
    grey = np.mean([(v[..., 0] == v[..., 1]).all() for v in views])
    assert 0.25 < grey < 0.42
    means = np.array([v.mean() for v in views]) / np.asarray(image, float).mean()
    assert 0.5 < means.min() < 0.7
    assert 1.2 < means.max() < 1.6


def test_own_photographs_are_two_at_least(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    with pytest.raises(InvalidArgument, match="at least 2"):
        demo.own_photographs(tmp_path, FolderScan())
    (tmp_path / "b.png").write_bytes(b"nothing")
    with pytest.raises(InvalidArgument, match=r"b\.png"):
        take_views(demo.own_photographs(tmp_path, FolderScan()), tmp_path / "views", lambda n: None)


def test_the_baseline_takes_pixels_at_32() -> None:
    values = pixel_values([Image.new("RGB", (50, 40), (255, 0, 51)), Image.new("L", (9, 9), 255)])
    assert values.shape == (2, 3072)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[0].reshape(-1, 3), np.broadcast_to([1.0, 0.0, 0.2], (1024, 3)), atol=1e-6)


def test_nearest_is_by_cosine_best_first() -> None:
    items = np.array([[0, 1], [5, 5], [1, 0]], np.float32)
    assert nearest_rows(np.array([[1, 0.1]], np.float32), items, 2).tolist() == [[2, 1]]


def test_ridge_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    centres = rng.standard_normal((4, 60))
    number = rng.integers(0, 4, 160)
    x = (centres[number] + 1.5 * rng.standard_normal((160, 60))).astype(np.float32)
    labels = [f"class {n}" for n in number]
    ours = ridge_labels(x[:100], labels[:100], x[100:])
    z = (x - x[:100].mean(0)) / x[:100].std(0)
    theirs = RidgeClassifierCV(np.logspace(-2, 4, 13)).fit(z[:100], labels[:100]).predict(z[100:])
    right = np.mean(np.array(ours) == labels[100:])
    assert right > 0.8
    assert abs(right - np.mean(theirs == labels[100:])) <= 0.05


@pytest.mark.parametrize(("n", "dim"), [(12, 40), (12, 4)])
def test_what_is_left_out_is_predicted_as_by_a_fit_without_it(n: int, dim: int) -> None:
    rng = np.random.default_rng(0)
    x, targets = rng.standard_normal((n, dim)), rng.standard_normal((n, 2))
    x = (x - x.mean(0)).astype(np.float32)
    fits = list(ridge_fits(x, targets))
    assert len(fits) > 3
    for dual, residuals, penalty in fits:
        whole = Ridge(penalty).fit(x, targets)
        np.testing.assert_allclose((x.T @ dual).T, whole.coef_, rtol=1e-4, atol=1e-6)
        for i in range(n):
            rest = Ridge(penalty).fit(np.delete(x, i, 0), np.delete(targets, i, 0))
            np.testing.assert_allclose(residuals[i], targets[i] - rest.predict(x[i : i + 1])[0], rtol=1e-3, atol=1e-5)


def test_a_photograph_is_turned_upright_first(tmp_path: Path) -> None:
    tall = Image.new("RGB", (40, 80))
    exif = tall.getexif()
    exif[0x0112] = 6
    tall.save(tmp_path / "turned.jpg", exif=exif)
    views = take_views([Photograph("turned", tmp_path / "turned.jpg")], tmp_path / "views", lambda n: None)
    assert len(views) == VIEWS_PER_PHOTOGRAPH


def test_of_many_photographs_thirty_are_taken_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(120):
        (tmp_path / f"{i:03}.png").write_bytes(b"x")
    taken = demo._photographs(tmp_path, FolderScan())
    assert [photograph.name for photograph in taken] == [f"{i:03}.png" for i in range(0, 120, 4)]
    assert capsys.readouterr().err == "120 photographs found. 30 of them are taken, evenly spread by name.\n"


def test_the_server_gets_none_of_the_caller_s_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FC7_MODELS", "absent")
    with running_server(tmp_path) as client:
        assert client.is_ready()
    assert (tmp_path / "data").is_dir()


def test_a_server_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"no folder")
    with pytest.raises(Unavailable, match=r"(?s)did not start\. Its log ends with: .*data"), running_server(tmp_path):
        pass


def test_steps_are_shown_and_timed() -> None:
    shown: list[object] = []

    @contextlib.contextmanager
    def show(name: str, total: int | None) -> Iterator[Callable[[int], None]]:
        shown.append((name, total))
        yield shown.append

    steps = Steps(show)
    with steps.step("index", 2) as report:
        report(1)
    with steps.step("search"):
        pass
    assert shown == [("index", 2), 1, ("search", None)]
    assert list(steps.seconds) == ["index", "search"]
