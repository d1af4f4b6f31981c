"""Every kind of picture gives the right feature: by path, as bytes, as a Pillow image and by the command."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

import fc7
from fc7.cli import main
from pictures import cases, encode, scene
from servers import serving

MODEL = "alexnet-64"
CASES = cases()


@dataclass
class Door:
    """A way to a server, and what it says of each case by path."""

    client: fc7.Client
    options: list[str]
    folder: Path
    features: dict[str, NDArray[np.float32]]

    def cosine(self, a: str, b: str) -> float:
        x, y = self.features[a], self.features[b]
        return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


@pytest.fixture(scope="module", params=["embedded", "remote"])
def door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("pictures")
    data = tmp_path_factory.mktemp(request.param) / "data"
    for name, content in CASES.items():
        (folder / name).write_bytes(content)
    if request.param == "embedded":
        with fc7.connect(data=data, models=[MODEL]) as client:
            yield _door(client, ["--data", str(data)], folder)
    else:
        with serving(data, "--model", MODEL) as served, fc7.connect(served.address) as client:
            yield _door(client, ["--server", served.address], folder)


def _door(client: fc7.Client, options: list[str], folder: Path) -> Door:
    values = client.extract([folder / name for name in CASES]).values
    return Door(client, options, folder, dict(zip(CASES, values, strict=True)))


def groups() -> list[list[str]]:
    return [list(names) for _, names in groupby(CASES, lambda name: name.partition("-")[0])]


@pytest.mark.parametrize("names", groups(), ids=lambda names: names[0])
def test_files_of_one_picture_give_one_feature(door: Door, names: list[str]) -> None:
    for name in names[1:]:
        if names[0].startswith(("bars", "circle", "grey", "new")):
            assert door.cosine(names[0], name) > 0.999
        else:
            np.testing.assert_array_equal(door.features[name], door.features[names[0]], err_msg=name)


def test_pictures_that_differ_are_apart_and_formats_of_one_near(door: Door) -> None:
    assert door.cosine("bars-on-transparent.png", "circle-on-transparent.png") < 0.8
    assert door.cosine("grey-8.png", "whole-.jpg") < 0.99
    for name in ("turned-ok.jpg", "lossless-.png", "new-.avif"):
        assert door.cosine("whole-.jpg", name) > 0.98, name


def test_bytes_give_what_paths_give(door: Door) -> None:
    np.testing.assert_array_equal(
        door.client.extract(list(CASES.values())).values, np.stack(list(door.features.values()))
    )


def test_pillow_images_give_what_their_files_give(door: Door) -> None:
    for name, data in CASES.items():
        if "-but-" in name or "bad-crc" in name or "of-text" in name:
            continue  # Pillow itself refuses these
        (found,) = door.client.extract(Image.open(io.BytesIO(data))).values
        np.testing.assert_array_equal(found, door.features[name], err_msg=name)


def test_the_command_gives_what_python_gives(door: Door, tmp_path: Path) -> None:
    run = CliRunner().invoke(
        main, ["extract", str(door.folder), "--model", MODEL, "--output", str(tmp_path / "f.npz"), *door.options]
    )
    assert run.exit_code == 0, run.output
    with np.load(tmp_path / "f.npz") as found:
        assert sorted(found["ids"]) == sorted(CASES)
        for name, values in zip(found["ids"], found["features"], strict=True):
            np.testing.assert_array_equal(values, door.features[name], err_msg=name)


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("new.jxl", b"\xff\x0a" + bytes(64), "JPEG XL, which fc7 does not read. Convert it to JPEG or PNG"),
        ("half.jpg", CASES["whole-.jpg"][: len(CASES["whole-.jpg"]) // 2], r"\d+ of its 180 rows are there"),
        ("notes.png", b"Dear diary", "not an image: they begin with b'Dear dia'"),
        ("page.png", b"<!DOCTYPE html><html>", "the file is HTML"),
        ("float.tif", encode(Image.fromarray(np.zeros((8, 8), np.float32)), "TIFF"), "floating-point numbers"),
    ],
)
def test_what_is_not_read_is_named(door: Door, name: str, data: bytes, text: str, tmp_path: Path) -> None:
    with pytest.raises(fc7.ImageDecodeError, match=text):
        door.client.extract(data)
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(fc7.ImageDecodeError, match=text):
        door.client.extract(file)
    run = CliRunner().invoke(main, ["classify", str(file), "--model", MODEL, *door.options])
    assert run.exit_code in (1, 2)
    assert re.search(text, run.stderr), run.stderr


def test_a_large_picture_by_any_way(door: Door) -> None:
    """24 megapixels are more than a message holds as pixels: the client halves a Pillow image, the server drafts."""
    image = scene((6000, 4000))
    by_file = door.client.extract(encode(image, "JPEG", quality=95)).values[0]
    by_pillow = door.client.extract(image).values[0]
    clear = image.convert("RGBA")
    clear.putalpha(255)
    by_alpha = door.client.extract(clear).values[0]
    for found in (by_pillow, by_alpha):
        assert found @ by_file / np.linalg.norm(found) / np.linalg.norm(by_file) > 0.999
    turned = image.transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6
    again = door.client.extract(turned).values[0]
    assert again @ by_file / np.linalg.norm(again) / np.linalg.norm(by_file) > 0.999
