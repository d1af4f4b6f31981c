"""Picture files with bytes changed, lost, added: a tensor or an error that says what is wrong, and nothing else."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import fc7
from fc7.errors import ImageDecodeError
from fc7_service.bundle.recipe import Recipe
from fc7_service.features.preprocess import preprocess
from pictures import encode, exif, scene

RECIPE = Recipe(resize_px=32, crop_px=32, scale=1 / 255, mean=(0.5,) * 3, std=(0.25,) * 3)
SMALL, OTHER = scene((60, 44)), scene((60, 44), seed=1)
GREY_16 = Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100)
FILES = [
    encode(SMALL, "JPEG", exif=exif()),
    encode(SMALL, "JPEG", progressive=True),
    encode(SMALL, "MPO", save_all=True, append_images=[OTHER]),
    encode(SMALL, "PNG", exif=exif()[6:]),
    encode(SMALL.quantize(16), "PNG", transparency=3),
    encode(SMALL, "PNG", save_all=True, append_images=[OTHER]),
    encode(GREY_16, "PNG"),
    encode(SMALL.quantize(16), "GIF", save_all=True, append_images=[OTHER.quantize(16)]),
    encode(SMALL, "BMP"),
    encode(SMALL.quantize(16), "BMP"),
    encode(SMALL, "WEBP", exif=exif()),
    encode(SMALL.convert("RGBA"), "WEBP", lossless=True),
    encode(SMALL, "AVIF", exif=exif()),
    encode(SMALL, "TIFF"),
    encode(GREY_16, "TIFF"),
    *(encode(SMALL, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")),
]
EXTREMES = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\xff\xd8", b"\xff\xda"]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change a few places, most often near the beginning, where formats say how large they are."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at = rng.randrange(rng.choice([len(data), 200])) % max(1, len(changed))
        n = rng.randrange(1, 9)
        kind = rng.randrange(4)
        if kind == 0:
            changed[at : at + 1] = rng.randbytes(1)
        elif kind == 1:
            del changed[at : at + n]
        elif kind == 2:
            changed[at:at] = rng.randbytes(n)
        else:
            changed[at : at + 4] = rng.choice(EXTREMES)
    return bytes(changed[: rng.randrange(len(changed) + 1)] if rng.random() < 0.15 else changed)


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(range(len(FILES))), st.randoms(use_true_random=False))
def test_a_changed_file_gives_a_tensor_or_a_clear_error(index: int, rng: random.Random) -> None:
    started = time.process_time()
    try:
        tensor = preprocess(mutate(FILES[index], rng), RECIPE)
    except ImageDecodeError as error:
        assert len(error.message) < 2000  # noqa: PT017 - either outcome is right
    else:
        assert tensor.shape == (3, 32, 32)
        assert np.isfinite(tensor).all()
    assert time.process_time() - started < 10


def test_a_server_answers_each_of_many_changed_files(tiny_bundle: Path, tmp_path: Path) -> None:
    rng = random.Random(21)
    changed = [mutate(rng.choice(FILES), rng) for _ in range(400)]
    with fc7.connect(data=tmp_path / "data", models=[str(tiny_bundle)]) as client:
        found = client.extract(changed, on_error="skip")
        assert {failure.error.code for failure in found.failed} == {"INVALID_ARGUMENT"}
        assert len(found.rows) + len(found.failed) == len(changed)
        assert 20 < len(found.rows) < 380
        assert client.extract(FILES).values.shape == (len(FILES), 8)
