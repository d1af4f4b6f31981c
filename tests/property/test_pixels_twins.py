"""Resizing, transparency and 16 bits agree with versions that compute one pixel at a time."""

from __future__ import annotations

import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fc7_service.bundle.recipe import IMAGENET_MEAN, IMAGENET_STD, Recipe
from fc7_service.features.preprocess import decode_upright, resize_and_crop
from slow import pixels as slow

SEEDS = st.integers(0, 2**32 - 1)


def make_recipe(resize_px: int, crop_px: int) -> Recipe:
    return Recipe(resize_px, crop_px, 1 / 255, IMAGENET_MEAN, IMAGENET_STD)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@settings(max_examples=30)
@given(SEEDS, st.integers(3, 40), st.integers(3, 40), st.integers(4, 16), st.integers(0, 4))
def test_resizing_weighs_pixels_by_a_triangle(seed: int, height: int, width: int, resize_px: int, margin: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    crop_px = max(1, resize_px - margin)
    ours = resize_and_crop(Image.fromarray(pixels), make_recipe(resize_px, crop_px))
    theirs = slow.resize_and_crop(pixels, resize_px, crop_px)
    assert np.abs(ours - theirs).max() <= 1.5  # Pillow rounds to whole levels after each of its two passes


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 4), min_size=1, max_size=64))
def test_transparent_pixels_are_composited_on_white(rgba: list[tuple[int, int, int, int]]) -> None:
    image = Image.new("RGBA", (len(rgba), 1))
    image.putdata(rgba)
    ours = np.asarray(decode_upright(png(image), make_recipe(64, 64)), int)[0]
    assert np.abs(ours - [slow.over_white(pixel) for pixel in rgba]).max() <= 1


@given(st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=64))
def test_16_bits_of_grey_keep_their_high_byte(values: list[int]) -> None:
    image = Image.fromarray(np.array([values], np.uint16))
    ours = np.asarray(decode_upright(png(image), make_recipe(64, 64)))[0]
    assert ours.tolist() == [[slow.grey_of_16_bits(value)] * 3 for value in values]
