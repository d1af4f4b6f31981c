"""What counts as an image, what as a list of images, and what each wrong thing is told to be instead."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fc7
from fc7.images import list_images, read_entries, read_image, write_image

COLOUR = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
GREY = COLOUR[:, :, 0]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"bytes\n of a\n picture")
    return path


def contents(images: Any) -> list[bytes]:
    entries = list(read_entries(list_images(images)))
    assert [entry.error for entry in entries] == [None] * len(entries)
    return [entry.content.data for entry in entries]


@pytest.mark.parametrize("many", [False, True])
def test_open_files_are_images(file: Path, many: bool) -> None:
    expected = file.read_bytes()
    with file.open("rb") as opened, file.open("rb", buffering=0) as raw:
        for one in (opened, raw, io.BytesIO(expected)):
            assert contents([one, one] if many else one) == [expected] * (1 + many)  # it can be read again
            assert one.tell() == 0

    class Arriving:
        """As the body of an HTTP answer: no seeking, and it is read once."""

        name = 7

        def read(self, n: int) -> bytes:
            return expected[:n]

    assert contents(Arriving()) == [expected]


def test_open_files_that_hold_nothing_to_read(file: Path) -> None:
    with file.open("rb") as opened:
        opened.read()
        with pytest.raises(fc7.InvalidArgument, match=r"at its end. Call seek\(0\)"):
            read_image(opened)
    with pytest.raises(fc7.FailedPrecondition, match="closed"):
        read_image(opened)
    with file.open(encoding="utf-8") as text, pytest.raises(fc7.InvalidArgument, match='Open it with "rb"'):
        read_image(text)  # type: ignore[arg-type]


def test_arrays_of_paths_and_of_images_are_lists(file: Path) -> None:
    data = file.read_bytes()
    assert contents(np.array([str(file)] * 2)) == [data] * 2
    assert contents(np.array([file, data], dtype=object)) == [data] * 2
    assert contents(np.array(str(file))) == [data]
    assert contents(np.stack([COLOUR] * 3)) == [COLOUR.tobytes()] * 3


class Column:
    """As a column of a table: an iterable that NumPy reads, and with keys."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def keys(self) -> range:
        return range(len(self._values))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self._values, object)


def test_a_column_of_a_table_is_a_list(file: Path) -> None:
    assert contents(Column([str(file)])) == [file.read_bytes()]
    with pytest.raises(fc7.InvalidArgument, match=r"table \(2, 2\). Give one column"):
        list_images(Column([["a", "b"], ["c", "d"]]))


def test_grey_pixels_stand_in_all_three_channels() -> None:
    for pixels in (GREY, GREY[:, :, np.newaxis]):
        sent = write_image(pixels).pixels
        assert (sent.dtype, list(sent.shape)) == ("uint8", [2, 4, 3])
        assert sent.data == np.stack([GREY] * 3, axis=2).tobytes()


@pytest.mark.parametrize(
    ("pixels", "way_out", "mended"),
    [
        (COLOUR / np.float32(255), "(pixels * 255).round().astype(np.uint8)", lambda p: (p * 255).round()),
        (COLOUR.astype(np.uint16) * 257, "(pixels / 257).round().astype(np.uint8)", lambda p: (p / 257).round()),
        (COLOUR.astype(np.int64), "pixels.astype(np.uint8)", lambda p: p),
        (COLOUR.transpose(2, 0, 1), "pixels.transpose(1, 2, 0)", lambda p: p.transpose(1, 2, 0)),
    ],
)
def test_other_pixels_are_told_how_to_become_such(pixels: Any, way_out: str, mended: Any) -> None:
    with pytest.raises(fc7.InvalidArgument) as caught:
        read_image(pixels)
    assert caught.value.message.endswith(way_out)
    assert read_image(mended(pixels).astype(np.uint8)).data == COLOUR.tobytes()


@pytest.mark.parametrize(
    ("images", "way_out"),
    [
        (np.zeros((2, 4, 4), np.uint8), "PIL.Image.fromarray"),
        (np.zeros((9, 28, 28), np.uint8), "list(pixels)"),
        (np.zeros(7, np.uint8), "uint8 (7,)"),
        (np.zeros((0, 4, 3), np.uint8), "empty"),
    ],
)
def test_shapes_that_are_no_image(images: Any, way_out: str) -> None:
    (entry,) = read_entries(list_images(images))
    assert way_out in str(entry.error)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ({"a.jpg": b"1"}, "is a dictionary.*ids=list"),
        (np.array([b"ab\0"]), "array of bytes"),
        (7, "is int. Give one image, or a list of images: a path, "),
    ],
)
def test_what_is_no_list_of_images(images: Any, said: str) -> None:
    with pytest.raises(fc7.InvalidArgument, match=said):
        list_images(images)


def test_what_is_no_image() -> None:
    for image in ({"path": "a.jpg"}, ("a.jpg", "label"), None):
        with pytest.raises(fc7.InvalidArgument, match=f"image is {type(image).__name__}. Give a path"):
            read_image(image)  # type: ignore[arg-type]
