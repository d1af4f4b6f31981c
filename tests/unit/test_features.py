"""Features as a sequence of rows, as an array, and in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fc7

PROVENANCE = fc7.Provenance("0123456789abcdef" * 4, "m", "g", "r", "fc7", "none", "fp32")


@pytest.fixture
def features() -> fc7.Features:
    values = np.arange(20, dtype=np.float32).reshape(5, 4)
    error = fc7.NotFound("file 'a' does not exist", name="a")
    return fc7.Features(values, PROVENANCE, [0, 1, 3, 4, 6], [fc7.Failure(2, error)], fc7.Timing(1.0))


@pytest.mark.parametrize(
    ("which", "rows"),
    [
        (0, [0]),
        (-1, [4]),
        (np.int64(2), [2]),
        (slice(0, 3), [0, 1, 2]),
        (slice(None, None, -2), [4, 2, 0]),
        (slice(3, 3), []),
        ([3, 1], [3, 1]),
        ([], []),
        (np.array([True, False, True, False, False]), [0, 2]),
        (np.array([4, 0], np.uint8), [4, 0]),
    ],
    ids=repr,
)
def test_an_index_leaves_whole_rows(features: fc7.Features, which: Any, rows: list[int]) -> None:
    part = features[which]
    assert part.values.shape == (len(rows), 4)
    assert part.values.tolist() == [features.values[i].tolist() for i in rows]
    assert part.rows == [features.rows[i] for i in rows]
    assert (part.provenance, len(part)) == (PROVENANCE, len(rows))


@pytest.mark.parametrize(
    "which", [(0, 1), "0", 1.5, None, ..., np.zeros((2, 2), int), [0.5], np.array(["a"])], ids=repr
)
def test_another_index_is_refused(features: fc7.Features, which: Any) -> None:
    with pytest.raises(TypeError, match=r"features\.values"):
        features[which]


@pytest.mark.parametrize("which", [5, -6, [0, 5], np.array([True])], ids=repr)
def test_a_row_that_is_not_there(features: fc7.Features, which: Any) -> None:
    with pytest.raises(IndexError):
        features[which]


def test_numpy_reads_features_as_their_values(features: fc7.Features) -> None:
    assert np.asarray(features) is features.values
    assert np.asarray(features, np.float64).dtype == np.float64
    copy = np.array(features)
    copy[0, 0] = 7
    assert features.values[0, 0] == 0
    assert np.concatenate([features[:1], features[4:]]).tolist() == features.values[[0, 4]].tolist()
    assert [row.rows for row in features] == [[0], [1], [3], [4], [6]]


def test_a_file_gives_back_what_was_saved(features: fc7.Features, tmp_path: Path) -> None:
    path = tmp_path / "set.features"  # whatever its suffix: none is added
    path.write_bytes(b"replaced")
    features.save(path)
    loaded = fc7.Features.load(str(path))
    np.testing.assert_array_equal(loaded.values, features.values)
    assert loaded.values.dtype == np.float32
    assert (loaded.rows, loaded.provenance) == (features.rows, features.provenance)
    (failure,) = loaded.failed
    assert (failure.index, type(failure.error), failure.error.message) == (2, fc7.NotFound, "file 'a' does not exist")
    assert (failure.error.name, failure.error.reason) == ("a", "NOT_FOUND")
    assert np.load(path, allow_pickle=False)["values"].shape == (5, 4)
    assert [file.name for file in tmp_path.iterdir()] == ["set.features"]
    empty = features[:0]
    empty.save(path)
    assert fc7.Features.load(path).values.shape == (0, 4)


def test_files_that_hold_no_features(features: fc7.Features, tmp_path: Path) -> None:
    path = tmp_path / "f.npz"
    with pytest.raises(fc7.NotFound, match=r"f\.npz"):
        fc7.Features.load(path)
    with pytest.raises(fc7.FailedPrecondition):
        fc7.Features.load(tmp_path)
    with pytest.raises(fc7.FailedPrecondition, match="cannot be written"):
        features.save(tmp_path / "no folder" / "f.npz")
    for content in (b"", b"hello", np.zeros(3).tobytes()):
        path.write_bytes(content)
        with pytest.raises(fc7.InvalidArgument, match=r"was not written by Features\.save"):
            fc7.Features.load(path)
    np.savez(path, values=np.zeros((2, 3), np.float32))
    with pytest.raises(fc7.InvalidArgument, match="holds no features"):
        fc7.Features.load(path)
    np.savez(path, facts=np.array([{"a": 1}], dtype=object))  # a pickle is not opened
    with pytest.raises(fc7.InvalidArgument, match="holds no features"):
        fc7.Features.load(path)


def test_a_damaged_byte_anywhere_in_a_saved_file_is_no_other_error(features: fc7.Features, tmp_path: Path) -> None:
    path = tmp_path / "f.npz"
    features.save(path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x2D]) + whole[place + 1 :])
        try:
            fc7.Features.load(path)
        except (fc7.DataLoss, fc7.InvalidArgument, fc7.FailedPrecondition):
            continue
        np.testing.assert_array_equal(fc7.Features.load(path).values, features.values)  # a date, a flag without effect


@pytest.mark.parametrize("what", ["values", "rows", "facts"])
def test_a_flipped_bit_in_a_saved_file_is_found(features: fc7.Features, tmp_path: Path, what: str) -> None:
    path = tmp_path / "f.npz"
    features.save(path)
    data = bytearray(path.read_bytes())
    data[data.index(what.encode()) + 160] ^= 1  # past the header of its array
    path.write_bytes(data)
    with pytest.raises(fc7.DataLoss, match="damaged"):
        fc7.Features.load(path)


def test_a_cut_file_is_found_and_a_newer_one_refused(
    features: fc7.Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.npz"
    features.save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(fc7.DataLoss, match="damaged"):
        fc7.Features.load(path)
    monkeypatch.setattr("fc7.features._FORMAT", 2)
    features.save(path)
    monkeypatch.undo()
    with pytest.raises(fc7.FailedPrecondition, match="newer version of fc7"):
        fc7.Features.load(path)
