"""Ten views of a picture: what they are, what is made of them, and that nothing else meets it."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fc7.errors import ImageDecodeError, InvalidArgument, ResourceExhausted
from fc7_service.bundle.folder import open_bundle
from fc7_service.bundle.provenance import Provenance
from fc7_service.bundle.recipe import IMAGENET_MEAN, IMAGENET_STD, Recipe
from fc7_service.features import extractor as module
from fc7_service.features.ensemble import join
from fc7_service.features.extractor import Extractor
from fc7_service.features.image_features import extract_images
from fc7_service.features.preprocess import preprocess, preprocess_pixels, preprocess_views
from fc7_service.served.table import ModelTable

RAW = Recipe(resize_px=20, crop_px=12, scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
RECIPES = st.sampled_from(
    [
        RAW,
        replace(RAW, resize_px=12),
        Recipe(resize_px=16, crop_px=16, scale=1 / 255, mean=IMAGENET_MEAN, std=IMAGENET_STD),
    ]
)
SIDES = st.integers(1, 70)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(max_examples=40)
@given(recipe=RECIPES, height=SIDES, width=SIDES, colour=st.tuples(*[st.integers(0, 255)] * 3))
def test_the_views_of_one_colour_are_all_the_same(
    recipe: Recipe, height: int, width: int, colour: tuple[int, ...]
) -> None:
    pixels = np.broadcast_to(np.array(colour, np.uint8), (height, width, 3)).copy()
    one = preprocess_pixels(pixels, recipe)
    views = preprocess_views(pixels, recipe, 10)
    assert views.shape == (10, *one.shape)
    assert views.dtype == np.float32
    np.testing.assert_array_equal(views, np.broadcast_to(one, views.shape))


@settings(max_examples=40)
@given(recipe=RECIPES, height=SIDES, width=SIDES)
def test_five_are_cut_and_mirrored(recipe: Recipe, height: int, width: int) -> None:
    pixels = noise(height, width)
    views = preprocess_views(pixels, recipe, 10)
    np.testing.assert_array_equal(views[5:], views[:5, :, :, ::-1])
    np.testing.assert_array_equal(preprocess_views(pixels, recipe, 1)[0], preprocess_pixels(pixels, recipe))


def test_the_views_are_the_centre_and_the_corners_of_the_middle_square() -> None:
    wide = noise(20, 28)
    square = wide[:, 4:24].transpose(2, 0, 1).astype(np.float32)
    views = preprocess_views(wide, RAW, 10)
    for view, (top, left) in zip(views, [(4, 4), (0, 0), (0, 8), (8, 0), (8, 8)], strict=False):
        np.testing.assert_array_equal(view, square[:, top : top + 12, left : left + 12])
    np.testing.assert_array_equal(views[0], preprocess_pixels(wide, RAW))


def test_a_recipe_without_margin_is_given_one() -> None:
    assert replace(RAW, resize_px=64, crop_px=64).with_margin().resize_px == 73  # 64 * 256 / 224
    assert replace(RAW, resize_px=224, crop_px=224).with_margin() == replace(RAW, resize_px=256, crop_px=224)
    assert RAW.with_margin() == RAW


def test_files_have_views_too_and_their_errors() -> None:
    buffer = io.BytesIO()
    Image.fromarray(noise(50, 40)).save(buffer, "PNG")
    views = preprocess_views(buffer.getvalue(), RAW, 10)
    np.testing.assert_array_equal(views, preprocess_views(noise(50, 40), RAW, 10))
    np.testing.assert_array_equal(preprocess_views(buffer.getvalue(), RAW, 1)[0], preprocess(buffer.getvalue(), RAW))
    with pytest.raises(ImageDecodeError):
        preprocess_views(b"junk", RAW, 10)
    with pytest.raises(InvalidArgument):
        preprocess_views(np.zeros((3, 3), np.uint8), RAW, 10)


async def test_the_extractor_runs_every_view(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    extractor = Extractor(ModelTable([bundle]), device="cpu", threads=2)
    try:
        images = [noise(30, 24, seed) for seed in range(4)]
        found = await extractor.extract([images[0], b"junk", *images[1:]], model="", layer="fc7", n_views=10)
        bad = found.rows.pop(1)
        assert isinstance(bad, ImageDecodeError)
        for image, views in zip(images, found.rows, strict=True):
            assert isinstance(views, np.ndarray)
            assert views.shape == (10, 8)
            cut = preprocess_views(image, bundle.recipe, 10)
            session = extractor._batcher(extractor.models.default)._engine
            assert session is not None
            np.testing.assert_allclose(views, session.run(cut, ["fc7"])[0], rtol=1e-4, atol=1e-5)
        assert found.timing.compute_s > 0
        plain = [np.full((9, 7, 3), 90, np.uint8)]
        one = await extract_images(extractor, plain, "", "fc7")
        ten = await extract_images(extractor, plain, "", "fc7", 10)
        np.testing.assert_allclose(ten.rows[0], one.rows[0], rtol=1e-5, atol=1e-6)
        nothing = await extractor.extract([b""], model="", layer="fc7", n_views=10)
        assert [type(row) for row in nothing.rows] == [ImageDecodeError]
    finally:
        extractor.close()


async def test_what_would_fill_the_memory_is_refused(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = Extractor(ModelTable([open_bundle(tiny_bundle)]), device="cpu", threads=2)
    try:
        images = [noise(9, 7, seed) for seed in range(40)]
        found = await extractor.extract(images, model="", layer="fc7", n_views=10)  # more than are let in at once
        assert np.shape(found.rows) == (40, 10, 8)
        monkeypatch.setattr(module, "MAX_WAITING_BYTES", 4 * 8 * 10 * 40 - 1)
        with pytest.raises(ResourceExhausted, match=r"over 10 views: at most .* fewer images") as refused:
            await extractor.extract(images, model="", layer="fc7", n_views=10)
        assert refused.value.retry_after_s is None
        assert len((await extractor.extract(images, model="", layer="fc7")).rows) == 40
    finally:
        extractor.close()


def test_provenances_of_means_and_ensembles_are_their_own() -> None:
    a, b = (Provenance(name, name * 64, "r" * 64, "fc7") for name in "ab")
    pooled = replace(a, transform="pooled")
    assert a.over_views(1) == a
    assert a.over_views(10).transform == "mean of 10 views"
    assert pooled.over_views(10).transform == "pooled, mean of 10 views"
    ensembles = [Provenance.of_ensemble(members) for members in ([a, b], [b, a], [a.over_views(10), b])]
    every = [a, b, pooled, a.over_views(10), pooled.over_views(10), *ensembles]
    assert len({one.digest for one in every}) == len(every)
    assert ensembles[0].model == "a+b"
    assert ensembles[0].graph_sha256 == "a" * 64 + "+" + "b" * 64
    for one in every:
        assert Provenance.from_dict(one.to_dict()) == one


@given(st.lists(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=6), min_size=2, max_size=4))
def test_joined_features_weigh_the_same(features: list[list[float]]) -> None:
    parts = [np.array(values, np.float32) for values in features]
    joined = join(parts)
    assert joined.dtype == np.float32
    starts = np.cumsum([0, *map(len, parts)])
    assert len(joined) == starts[-1]
    for part, start in zip(parts, starts, strict=False):
        found = joined[start : start + len(part)]
        length = np.linalg.norm(part.astype(np.float64))
        if not part.any():
            assert not found.any()
        elif length > 1e-15:
            np.testing.assert_allclose(found, part / length, rtol=1e-3, atol=1e-6)
