"""Label records in files of other programs: what is written comes back, and what is no such file is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from fc7.errors import InvalidArgument, NotFound
from fc7.label_files import csv_lines, read_csv
from fc7.results import Label

LABELS = [
    Label('a,b/"1".jpg', "big cat", "positive", "ann", 0, "2026-05-01T12:00:00.000+00:00"),
    Label("b.jpg", "Straße", "negative", "places", 3, "2026-05-01T12:00:00.000+00:00"),
    Label("b.jpg", " spaced ", "unsure", "", 0, "2026-05-01T12:00:00.000+00:00"),
]


def test_csv_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("".join(csv_lines(LABELS)), encoding="utf-8", newline="")
    assert read_csv(file, "") == LABELS


def test_csv_of_others(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_bytes("\ufefflabel,id,note\r\ncat,a.jpg,x\r\n".encode())
    assert read_csv(file, "ann") == [Label("a.jpg", "cat", "positive", "ann")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "no column id and no column label"),
        (b"id,path\na,b\n", "no column label"),
        (b"id,label\na\n", "line 2 does not have 2 columns"),
        (b"id,label\na,b,c\n", "line 2 does not have 2 columns"),
        (b"id,label,verdict\na,b,maybe\n", "line 2 has the verdict 'maybe'"),
        (b"id,label,head_version\na,b,-1\n", "line 2 has the head_version '-1'"),
        (b'id,label\na,"b\n', "unexpected end of data"),
        (b"id,label\na,caf\xe9\n", "not UTF-8"),
    ],
)
def test_what_is_no_csv_of_labels(tmp_path: Path, text: bytes, problem: str) -> None:
    file = tmp_path / "labels.csv"
    file.write_bytes(text)
    with pytest.raises(InvalidArgument, match=problem):
        read_csv(file, "")
    with pytest.raises(NotFound):
        read_csv(tmp_path / "other.csv", "")
