"""Bytes of images to tensors: every rule of the recipe, and every way in which bytes are not an image."""

from __future__ import annotations

import io
import re
import struct
import subprocess
import sys
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from fc7.contract.formats import READ
from fc7.errors import ImageDecodeError, InvalidArgument
from fc7_service.bundle.recipe import Recipe
from fc7_service.features import metadata
from fc7_service.features.colour import over_white
from fc7_service.features.decode import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS, MAX_JPEG_PIXELS, Picture
from fc7_service.features.preprocess import decode_upright, preprocess, preprocess_pixels, resize_and_crop, to_tensor
from pictures import HEIC, HEIC_TURNED, chunk

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
    difference = np.abs(resize_and_crop(image, recipe).astype(int) - np.asarray(whole, int))
    assert np.median(difference) <= 1
    assert difference.max() <= 16


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:8, :16] = 255
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = decode_upright(encode(image, "JPEG", exif=exif, quality=95), RECIPE)
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
    image = decode_upright(encode(Image.fromarray(values)), RECIPE)
    assert abs(np.asarray(image).mean() - 127.5) < 1


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "1"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = Image.fromarray(ramp(40, 40)).convert(mode)
    data = encode(image, "JPEG" if mode == "CMYK" else "PNG")
    assert decode_upright(data, RECIPE).mode == "RGB"


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 2)])
def test_any_shape_gives_a_tensor(size: tuple[int, int]) -> None:
    tensor = preprocess(encode(Image.new("RGB", size, (10, 20, 30))), RECIPE)
    assert tensor.shape == (3, 64, 64)
    np.testing.assert_allclose(tensor[0], (10 / 255 - 0.5) * 4, atol=0.02)


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert np.asarray(decode_upright(data, RECIPE))[0, 0].tolist() == [255, 0, 0]


def test_a_large_jpeg_is_decoded_smaller_but_looks_the_same() -> None:
    pixels = np.asarray(Image.fromarray(ramp(64, 48)).resize((2048, 1536), Image.Resampling.BICUBIC))
    data = encode(Image.fromarray(pixels), "JPEG", quality=92)
    assert min(decode_upright(data, RECIPE).size) in range(128, 512)
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
        (b"\0" * (MAX_IMAGE_BYTES + 1), "bytes, but the limit is"),
        (png(40_000, 40_000), "pixels"),
        (png(9_000, 9_000), "pixels, but the limit is"),
        (png(64, 64), "truncated|damaged"),
    ],
)  # fmt: skip
def test_what_is_not_a_whole_image_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(ImageDecodeError, match=text) as caught:
        preprocess(data, RECIPE)
    assert caught.value.reason in ("IMAGE_EMPTY", "IMAGE_DAMAGED", "IMAGE_TOO_LARGE", "UNSUPPORTED_FORMAT")


@settings(max_examples=200)
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


def test_version_2_lays_on_white_what_version_1_shows_below() -> None:
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[:, :32, 3], rgba[:, 32:, 3] = 255, 128
    image = Image.fromarray(rgba)
    for mode in ("RGBA", "LA"):
        data = encode(image.convert(mode))
        new, old = (
            np.asarray(decode_upright(data, RECIPE.in_version(version)))[0, ::63, 0].tolist() for version in (2, 1)
        )
        assert (new, old) == ([0, 127], [0, 0])
    palette = Image.new("P", (64, 64), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    data = encode(palette, transparency=1)
    assert np.asarray(decode_upright(data, RECIPE))[0, 0].tolist() == [255, 255, 255]
    assert np.asarray(decode_upright(data, RECIPE.in_version(1)))[0, 0].tolist() == [10, 20, 30]
    for keyed in (Image.new("RGB", (64, 64), (10, 20, 30)), Image.new("L", (64, 64), 7)):
        key = keyed.getpixel((0, 0))
        assert np.asarray(decode_upright(encode(keyed, transparency=key), RECIPE)).min() == 255
    deep = Image.fromarray(np.full((64, 64), 4000, np.uint16))
    assert np.asarray(decode_upright(encode(deep, transparency=4000), RECIPE)).min() == 255


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_is_the_same_in_both_versions(mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    data = encode(Image.fromarray(ramp(901, 703)).convert(mode), "JPEG", exif=exif)
    np.testing.assert_array_equal(preprocess(data, RECIPE), preprocess(data, RECIPE.in_version(1)))


def test_averaging_in_bands_equals_averaging_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(ramp(701, 613)).convert("RGBA")
    opaque = image.convert("RGB")
    monkeypatch.setattr("fc7_service.features.colour._BAND_PX", 5000)
    for factor in (1, 2, 8):
        whole = opaque.reduce(factor) if factor > 1 else opaque
        np.testing.assert_array_equal(np.asarray(over_white(image, factor)), np.asarray(whole))


@pytest.mark.parametrize("size", [(640, 480), (5000, 60), (129, 777), (1201, 907)])
def test_a_lossless_file_of_any_size_equals_its_pixels(size: tuple[int, int]) -> None:
    pixels = ramp(*size)
    for fmt, options in (("PNG", {}), ("BMP", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})):
        data = encode(Image.fromarray(pixels), fmt, **options)
        np.testing.assert_array_equal(preprocess(data, RECIPE), preprocess_pixels(pixels, RECIPE), err_msg=fmt)


def cut(data: bytes, share: float) -> bytes:
    start = data.rindex(b"\xff\xda")
    return data[: start + int((len(data) - start) * share)]


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"restart_marker_blocks": 3}]
)
@pytest.mark.parametrize("size", [(300, 200), (1600, 1200)])
def test_a_jpeg_short_of_its_end_is_read_if_every_row_is_there(
    size: tuple[int, int], options: dict[str, object]
) -> None:
    # Of a large progressive one the last scan is finer than what is decoded: it may lack.
    data = encode(Image.fromarray(ramp(*size)), "JPEG", **options)
    whole = preprocess(data, RECIPE)
    for n_bytes in (1, 2):
        np.testing.assert_array_equal(preprocess(data[:-n_bytes], RECIPE), whole)
    for n_bytes in range(8, len(data) - data.rindex(b"\xff\xda"), 97):
        try:
            found = preprocess(data[:-n_bytes], RECIPE)
        except ImageDecodeError as error:
            assert f"of its {size[1]} rows are there" in error.message  # noqa: PT017 - most are refused, none may differ
        else:
            np.testing.assert_array_equal(found, whole)
    if size == (300, 200) or not options.get("progressive"):
        with pytest.raises(ImageDecodeError, match="rows are there"):
            preprocess(cut(data, 0.5), RECIPE.in_version(1))


def test_a_jpeg_short_of_its_end_declares_the_memory_of_the_two_that_are_compared() -> None:
    data = encode(Image.fromarray(ramp(1600, 1200)), "JPEG", restart_marker_rows=1)
    recipe = replace(RECIPE, resize_px=600, crop_px=600)
    whole, short = Picture(data, recipe), Picture(data[:-2], recipe)
    assert short.n_bytes == 2 * whole.n_bytes == 2 * 4 * 1600 * 1200
    tracemalloc.start()  # of what is taken beside them
    try:
        found = short.upright()
        assert tracemalloc.get_traced_memory()[1] < whole.n_bytes / 2
    finally:
        tracemalloc.stop()
    assert found.tobytes() == whole.upright().tobytes()


def test_thousands_of_texts_in_a_png_are_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kilobyte unpacks to a megabyte: 2 MB of them took 14 seconds."""
    unpacked = []
    real = zlib.decompressobj
    monkeypatch.setattr(metadata.zlib, "decompressobj", lambda: unpacked.append(1) or real())
    plain = encode(Image.fromarray(ramp(90, 70)))
    body = b"zTXt" + b"Raw profile type exif\0\0" + zlib.compress(bytes(2**20))
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    np.testing.assert_array_equal(preprocess(plain[:33] + chunk * 1000 + plain[33:], RECIPE), preprocess(plain, RECIPE))
    assert len(unpacked) == 1


def test_a_cut_jpeg_says_how_many_rows_it_has() -> None:
    data = encode(Image.fromarray(ramp(320, 200)), "JPEG", restart_marker_rows=1)
    at = list(re.finditer(rb"\xff[\xd0-\xd7]", data))[4].end()  # behind five rows of blocks, 16 pixels each
    with pytest.raises(ImageDecodeError, match=r"truncated: only (7[0-9]|80) of its 200 rows"):
        preprocess(data[:at], RECIPE)


def test_a_progressive_jpeg_without_its_last_scans_is_refused() -> None:
    data = encode(Image.fromarray(ramp(1600, 1200)), "JPEG", progressive=True)
    for scan in list(re.finditer(rb"\xff\xda", data))[1:]:
        with pytest.raises(ImageDecodeError, match="0 of its 1200 rows"):
            preprocess(data[: scan.start()], RECIPE)


def test_a_jpeg_with_others_behind_it_is_decoded_smaller_too() -> None:
    image = Image.fromarray(ramp(2048, 1536))
    data = encode(image, "MPO", save_all=True, append_images=[image])
    alone = encode(image, "JPEG")
    np.testing.assert_array_equal(preprocess(data, RECIPE), preprocess(alone, RECIPE))
    assert Picture(data, RECIPE).n_bytes == Picture(alone, RECIPE).n_bytes < 10**6
    assert decode_upright(data, RECIPE.in_version(1)).size == (2048, 1536)


def ifd_bomb(order: str = "<") -> bytes:
    """A TIFF directory of 2,000 tags that each name the same megabyte: 2 GB for who reads them all."""
    n, size = 2000, 2**20
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}LH", 8, n)
    tags = b"".join(struct.pack(f"{order}HHLL", 40_000 + i, 7, size, 64) for i in range(n))
    return head + tags + bytes(size)


def test_exif_that_would_fill_the_memory_is_not_read() -> None:
    import tracemalloc

    image, bomb = Image.fromarray(ramp(64, 64)), b"Exif\0\0" + ifd_bomb()
    harmless = b"Exif\0\0II*\0\x08\0\0\0".ljust(len(bomb), b"\0")
    segments = b"".join(
        b"\xff\xe1" + struct.pack(">H", len(part) + 8) + b"Exif\0\0" + part
        for part in (bomb[6 + i : 6 + i + 60_000] for i in range(0, len(bomb), 60_000))
    )
    jpeg = encode(image, "JPEG")
    files = [
        jpeg[:2] + segments + jpeg[2:],
        encode(image, "WEBP", exif=bomb, lossless=True),
        encode(image, "AVIF", exif=harmless).replace(harmless[6:], bomb[6:]),
        encode(image, "PNG", exif=bomb),
    ]
    tracemalloc.start()
    try:
        for data in files:
            assert preprocess(data, RECIPE).shape == (3, 64, 64)
        with pytest.raises(ImageDecodeError, match="TIFF"):
            preprocess(ifd_bomb(), RECIPE)
        assert tracemalloc.get_traced_memory()[1] < 60 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("order", "<>")
def test_a_tiff_is_its_first_page_upright(order: str) -> None:
    first, second = Image.fromarray(ramp(80, 40)), Image.new("RGB", (10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(first, "TIFF", save_all=True, append_images=[second], exif=exif)
    np.testing.assert_array_equal(np.asarray(decode_upright(data, RECIPE)), np.rot90(ramp(80, 40), -1))
    deep = np.arange(64 * 64, dtype=f"{order}u2").reshape(64, 64) * 16
    assert np.asarray(decode_upright(encode(Image.fromarray(deep), "TIFF"), RECIPE))[63, 63].tolist() == [255] * 3


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (encode(Image.new("1", (64, 64)), "TIFF", compression="group4"), "does not read the compression 4"),
        (b"II*\0\x08\0\0\0\1\0\xfe\0\4\0\1\0\0\0\1\0\0\0" + bytes(40), "camera raw"),
        (b"II*\0\x10\0\0\0CR\2\0", "camera raw"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "video"),
        (b"\xff\x0a\xfa\x7f", "JPEG XL"),
        (b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff" * 6, "16777216 x 16777216 pixels"),
        (b"RIFF\0\0\0\0WEBP", "header of the WebP image is truncated"),
        (png(9_000, 9_000)[:60], "pixels, but the limit is|truncated"),
    ],
)
def test_what_else_is_refused_says_why(data: bytes, text: str) -> None:
    with pytest.raises(ImageDecodeError, match=text) as caught:
        preprocess(data, RECIPE)
    assert caught.value.reason in ("IMAGE_EMPTY", "IMAGE_DAMAGED", "IMAGE_TOO_LARGE", "UNSUPPORTED_FORMAT")


def test_a_jpeg_of_many_scans_is_refused() -> None:
    data = encode(Image.fromarray(ramp(64, 64)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(ImageDecodeError, match="more than 500 scans"):
        preprocess(data[:last] + data[last:-2] * 600 + data[-2:], RECIPE)


MEMORY = """
import io, resource, sys
from PIL import Image
from fc7_service.bundle.recipe import Recipe
from fc7_service.features.preprocess import preprocess
recipe = Recipe(resize_px=128, crop_px=128, scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3)
preprocess(open(sys.argv[1], "rb").read(), recipe)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
preprocess(open(sys.argv[2], "rb").read(), recipe)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def test_large_pictures_take_little_memory(tmp_path: Path) -> None:
    """In a process of its own: a JPEG of 108 megapixels, and a PNG whose pixels stand in memory once."""
    blocks = Image.fromarray(ramp(30, 40)[..., 0])
    phone = blocks.resize((12000, 9000), Image.Resampling.NEAREST)
    clear = Image.fromarray(np.dstack([ramp(40, 40), ramp(40, 40)[..., 0]])).resize((5000, 5000), 0)
    for small, large, most in (
        (encode(blocks, "JPEG"), encode(phone, "JPEG", quality=60), 60 * 2**20),
        (encode(clear.resize((9, 9))), encode(clear, compress_level=1), 5000 * 5000 * 4 * 1.3),
    ):
        (tmp_path / "small").write_bytes(small)
        (tmp_path / "large").write_bytes(large)
        command = [sys.executable, "-c", MEMORY, str(tmp_path / "small"), str(tmp_path / "large")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert int(done.stdout) < most


def test_the_documentation_names_every_format_and_limit() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "pictures.md").read_text()
    rows = {row.split("|")[1].strip(): row for row in text.splitlines() if row.startswith("|")}
    for suffix, name in READ.items():
        assert f"`{suffix}`" in rows[name]
    assert f"{MAX_IMAGE_BYTES >> 20} MiB" in rows["Bytes of a file"]
    assert f"{MAX_IMAGE_PIXELS // 10**6} million" in rows["Pixels"]
    assert f"{MAX_JPEG_PIXELS // 10**6} million" in rows["Pixels of a JPEG that is not progressive"]


def test_a_heic_is_turned_once_whether_exif_says_it_too() -> None:
    pytest.importorskip("pi_heif")
    plain, turned = (np.asarray(decode_upright(data, RECIPE)).astype(int) for data in (HEIC, HEIC_TURNED))
    assert plain.shape == (48, 64, 3)
    for at, colour in (((4, 4), (255, 0, 0)), ((4, 60), (0, 255, 0)), ((44, 4), (0, 0, 255)), ((44, 60), (255,) * 3)):
        assert np.abs(plain[at] - colour).max() <= 3
    assert np.abs(np.rot90(plain, -1) - turned).max() <= 6


def test_a_heic_that_lies_about_its_size_is_refused() -> None:
    pytest.importorskip("pi_heif")
    at = HEIC.index(b"ispe") + 8
    for size in ((20_000, 20_000), (8, 8)):
        with pytest.raises(ImageDecodeError, match=r"damaged: .*size"):
            preprocess(HEIC[:at] + struct.pack(">LL", *size) + HEIC[at + 8 :], RECIPE)


def test_a_heic_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for suffix in (".heic", ".heif"):
        monkeypatch.delitem(READ, suffix, raising=False)
    with pytest.raises(ImageDecodeError, match=r"HEIC, which fc7 does not read. Install 'fc7\[heif\]'"):
        preprocess(HEIC, RECIPE)


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_colour_profile_changes_nothing(fmt: str) -> None:
    """Swapped primaries would exchange red and blue if they were obeyed."""
    image, profile = Image.fromarray(ramp(90, 70)), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    swapped = bytearray(profile)
    swapped[red : red + 4], swapped[blue : blue + 4] = b"bXYZ", b"rXYZ"
    plain, tagged = (preprocess(encode(image, fmt, **more), RECIPE) for more in ({}, {"icc_profile": bytes(swapped)}))
    assert len(encode(image, fmt, icc_profile=bytes(swapped))) > len(encode(image, fmt)) + 300
    np.testing.assert_array_equal(plain, tagged)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("fmt", ["PNG", "TIFF"])
def test_of_16_bits_the_high_byte_counts(fmt: str, channels: int) -> None:
    """Alpha of 16 bits lies on white as alpha of 8 bits does."""
    high = np.dstack([ramp(80, 64), np.full((64, 80), 128, np.uint8)])[..., :channels]
    values = high.astype(np.uint16) * 256 + 200
    plain = np.repeat(high, 3, axis=2) if channels == 1 else high
    wanted = preprocess(encode(Image.fromarray(plain)), RECIPE)
    np.testing.assert_array_equal(preprocess(_deep(values, fmt), RECIPE), wanted)


def _deep(values: NDArray[np.uint16], fmt: str) -> bytes:
    """A file of 16 bits per channel, which Pillow does not write in colour."""
    (height, width, channels), big = values.shape, values.astype(">u2").tobytes()
    if fmt == "PNG":
        rows = b"".join(b"\0" + values[y].astype(">u2").tobytes() for y in range(height))
        header = struct.pack(">LLBBBBB", width, height, 16, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
        parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in parts)
    tags = [(256, 4, width), (257, 4, height), (258, 3, 16), (259, 3, 1), (262, 3, 2 if channels > 1 else 1)]
    tags += [(277, 3, channels), (278, 4, height), (279, 4, len(big))]
    if channels == 4:
        tags.append((338, 3, 2))  # alpha that colours are not multiplied with
    n_tags = len(tags) + 1
    start = 8 + 2 + 12 * n_tags + 4 + 8
    at_bits = start - 8
    entries = {tag: (kind, 1, value << 16 if kind == 3 else value) for tag, kind, value in tags}
    if channels > 1:
        entries[258] = (3, channels, at_bits)
    entries[273] = (4, 1, start)
    directory = b"".join(struct.pack(">HHLL", tag, *entries[tag]) for tag in sorted(entries))
    return b"MM\0*" + struct.pack(">LH", 8, n_tags) + directory + bytes(4) + struct.pack(">4H", *[16] * 4) + big
