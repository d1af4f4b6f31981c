"""Bytes of images to tensors: every rule of the recipe, and every way in which bytes are not an image."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from fc7.errors import ImageDecodeError, InvalidArgument
from fc7_service.bundle.recipe import Recipe
from fc7_service.features.decode import MAX_IMAGE_BYTES
from fc7_service.features.preprocess import preprocess, preprocess_pixels, square, to_tensor, upright

RECIPE = Recipe(resize_px=64, crop_px=64, scale=1 / 255, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def encode(image: Image.Image, fmt: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def ramp(width: int, height: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1).astype(np.uint8)


def test_pixels_and_a_lossless_file_give_the_same_tensor() -> None:
    pixels = ramp(90, 70)
    tensor = preprocess(encode(Image.fromarray(pixels)), RECIPE)
    assert tensor.shape == (3, 64, 64)
    assert tensor.dtype == np.float32
    np.testing.assert_array_equal(tensor, preprocess_pixels(pixels, RECIPE))


def test_scale_mean_and_order() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[..., 0] = 255
    tensor = to_tensor(pixels, RECIPE)
    np.testing.assert_allclose(tensor[:, 0, 0], [2, -2, -2], rtol=1e-6)


def test_the_centre_square_of_the_resized_picture_is_cut() -> None:
    """One pass over a box equals resizing the whole and cutting, but for rounding at the box's edge."""
    image = Image.fromarray(ramp(200, 100))
    recipe = RECIPE.with_crop(48)
    whole = image.resize((128, 64), Image.Resampling.BILINEAR).crop((40, 8, 88, 56))
    difference = np.abs(square(image, recipe).astype(int) - np.asarray(whole, int))
    assert np.median(difference) <= 1
    assert difference.max() <= 16


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:8, :16] = 255
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = upright(encode(image, "JPEG", exif=exif, quality=95), RECIPE)
    assert turned.size == ((64, 32) if orientation <= 4 else (32, 64))
    values = np.asarray(turned.convert("L"), float)
    corner = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[orientation]
    h, w = values.shape
    quarters = {
        (r, c): values[r * (h - 8) : r * (h - 8) + 8, c * (w - 8) : c * (w - 8) + 8].mean()
        for r in (0, 1)
        for c in (0, 1)
    }
    assert max(quarters, key=lambda k: quarters[k]) == corner


def test_16_bit_grey_is_shifted_not_clipped() -> None:
    values = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    image = upright(encode(Image.fromarray(values)), RECIPE)
    assert abs(np.asarray(image).mean() - 127.5) < 1


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "1"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = Image.fromarray(ramp(40, 40)).convert(mode)
    data = encode(image, "JPEG" if mode == "CMYK" else "PNG")
    assert upright(data, RECIPE).mode == "RGB"


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 2)])
def test_any_shape_gives_a_tensor(size: tuple[int, int]) -> None:
    tensor = preprocess(encode(Image.new("RGB", size, (10, 20, 30))), RECIPE)
    assert tensor.shape == (3, 64, 64)
    np.testing.assert_allclose(tensor[0], (10 / 255 - 0.5) * 4, atol=0.02)


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert np.asarray(upright(data, RECIPE))[0, 0].tolist() == [255, 0, 0]


def test_a_large_jpeg_is_decoded_smaller_but_looks_the_same() -> None:
    pixels = np.asarray(Image.fromarray(ramp(64, 48)).resize((2048, 1536), Image.Resampling.BICUBIC))
    data = encode(Image.fromarray(pixels), "JPEG", quality=92)
    assert min(upright(data, RECIPE).size) in range(128, 512)
    difference = np.abs(preprocess(data, RECIPE) - preprocess_pixels(pixels, RECIPE))
    assert difference.mean() < 0.03  # 2 grey levels


def png(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


JPEG = encode(Image.fromarray(ramp(300, 200)), "JPEG")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "empty"),
        (b"not a picture", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is SVG"),
        (b"%PDF-1.7", "is PDF"),
        (encode(Image.new("RGB", (8, 8)), "ICO"), "is ICO"),
        (JPEG[: len(JPEG) // 2], "truncated"),
        (JPEG[:100], "not an image|damaged|truncated"),
        (b"\0" * (MAX_IMAGE_BYTES + 1), "bytes: at most"),
        (png(40_000, 40_000), "pixels"),
        (png(9_000, 9_000), "pixels: at most"),
        (png(64, 64), "truncated|damaged"),
    ],
)  # fmt: skip
def test_what_is_not_a_whole_image_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(ImageDecodeError, match=text):
        preprocess(data, RECIPE)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(JPEG) - 1), st.integers(0, 255)), max_size=20), st.integers(0, len(JPEG)))
def test_damaged_jpegs_give_a_tensor_or_a_clear_error(flips: list[tuple[int, int]], length: int) -> None:
    data = bytearray(JPEG)
    for at, value in flips:
        data[at] = value
    try:
        tensor = preprocess(bytes(data[:length]), RECIPE)
    except ImageDecodeError:
        return
    assert tensor.shape == (3, 64, 64)
    assert np.isfinite(tensor).all()


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_pixels_of_another_kind_are_refused(pixels: NDArray[np.uint8]) -> None:
    with pytest.raises(InvalidArgument, match="uint8"):
        preprocess_pixels(pixels, RECIPE)
