"""Bulk extraction as far as it goes without Ray: batches to rows, and a folder in which each row stands once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fc7
from fc7.contract.image_digest import image_digest
from fc7.ray import FeatureExtractor, Settled, settling
from fc7.ray.settling import Parts
from servers import jpeg


def batch(*images: bytes, **columns: list[Any]) -> dict[str, Any]:
    """A batch as Ray Data gives it."""
    return {"bytes": np.array(images, object), **{name: np.array(values) for name, values in columns.items()}}


def test_a_batch_becomes_rows_of_several_layers(tiny_bundle: Path, tmp_path: Path) -> None:
    images = [jpeg(1), b"no picture", *(jpeg(seed) for seed in range(2, 40))]  # more than one run
    extractor = FeatureExtractor(str(tiny_bundle), ["fc7", "pool5"])
    rows = extractor(batch(*images, path=[f"{n}.jpg" for n in range(40)]))
    assert rows.column_names == ["path", "sha256", "fc7", "pool5", "error", "provenance"]
    assert rows["sha256"].to_pylist() == [image_digest(image, None) for image in images]
    assert rows["path"].to_pylist()[39] == "39.jpg"
    with fc7.connect(data=tmp_path, models=[str(tiny_bundle)]) as client:
        for layer in ("fc7", "pool5"):
            wanted = client.extract(images, layer=layer, on_error="skip")
            assert rows[layer][1].as_py() is None
            found = np.array([row for row in rows[layer].to_pylist() if row is not None], np.float32)
            np.testing.assert_allclose(found, wanted.values, rtol=1e-5, atol=1e-6)
            assert json.loads(rows["provenance"][0].as_py())[layer]["digest"] == wanted.provenance.digest
            assert rows["error"][1].as_py() == wanted.failed[0].error.message
    assert rows["error"].null_count == 39


def test_a_batch_of_another_form_is_refused(tiny_bundle: Path) -> None:
    extractor = FeatureExtractor(str(tiny_bundle))
    with pytest.raises(fc7.InvalidArgument, match="no column 'bytes', but path"):
        extractor({"path": np.array(["a"])})
    with pytest.raises(fc7.InvalidArgument, match="would replace: fc7, sha256"):
        extractor(batch(jpeg(1), sha256=["a"], fc7=["b"]))
    with pytest.raises(fc7.NotFound, match="conv9"):
        FeatureExtractor(str(tiny_bundle), ["conv9"])
    every_one_bad = extractor(batch(b"", b"x"))
    assert every_one_bad["fc7"].null_count == 2


def rows(*keys: int, provenance: str = "p", path: bool = True) -> pa.Table:
    """Rows whose digest and path say which they are."""
    columns = {"sha256": pa.array([bytes([key]) * 32 for key in keys], pa.binary(32))}
    if path:
        columns["path"] = pa.array([f"{key}.jpg" for key in keys])
    columns["fc7"] = pa.array([[float(key)] * 3 for key in keys], pa.list_(pa.float32(), 3))
    columns["error"] = pa.array(["unreadable" if key == 9 else None for key in keys], pa.string())
    columns["provenance"] = pa.array([provenance] * len(keys))
    return pa.table(columns)


def read(folder: Path) -> list[int]:
    """The keys of all rows that a reader of Parquet finds."""
    table = pq.read_table(folder)
    assert table["fc7"].to_pylist() == [[float(key[0])] * 3 for key in table["sha256"].to_pylist()]
    return sorted(key[0] for key in table["sha256"].to_pylist())


@pytest.mark.parametrize("rows_per_pass", [10**6, 2])
def test_rows_that_come_again_stand_once(tmp_path: Path, rows_per_pass: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "_ROWS_PER_PASS", rows_per_pass)
    parts = Parts(str(tmp_path))
    assert parts.write(rows(1, 2, 3, 3)) == 3  # the same file at the same path, twice in a block
    assert parts.write(rows(3, 2, 1)) == 3  # a task that was run again
    assert len(list(tmp_path.iterdir())) == 1
    parts.write(rows(3, 4, 9))  # in other company
    parts.write(rows(4))
    (tmp_path / "._features-half.parquet-0").write_bytes(b"PAR1")  # by a worker that was killed
    settled = parts.settle()
    assert settled == Settled(rows=5, failed=1, files=settled.files, doubled=2)
    assert read(tmp_path) == [1, 2, 3, 4, 9]
    assert json.loads((tmp_path / "_settled.json").read_text())["rows"] == 5
    parts.write(rows(3, 4, 9))  # the run is started again
    assert parts.settle().rows == 5
    assert read(tmp_path) == [1, 2, 3, 4, 9]


def test_the_path_tells_equal_files_apart_where_there_is_one(tmp_path: Path) -> None:
    same = rows(1, 1).set_column(1, "path", pa.array(["a.jpg", "b.jpg"]))
    Parts(str(tmp_path / "a")).write(same)
    assert Parts(str(tmp_path / "a")).settle().rows == 2
    Parts(str(tmp_path / "b")).write(rows(1, 1, path=False))
    assert Parts(str(tmp_path / "b")).settle().rows == 1


def test_a_folder_holds_one_provenance(tmp_path: Path) -> None:
    parts = Parts(f"file://{tmp_path}/features")
    parts.write(rows(1))
    with pytest.raises(fc7.FailedPrecondition, match=r"another network, layer or recipe\. Name another"):
        parts.write(rows(2, provenance="q"))
    assert parts.settle().rows == 1
