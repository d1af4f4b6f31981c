"""What a head is trained on: groups that stay on one side of every split, and tables of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fc7.cli.manifest import read_manifest
from fc7.errors import InvalidArgument, NotFound
from fc7_service.heads.grouping import join_groups
from fc7_service.heads.near_duplicates import Pair
from fc7_service.heads.registry import Heads
from labelled import PROVENANCE, make_labelled

rows = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["", "x", "y", "z"])), min_size=1, max_size=20)


@given(rows)
def test_rows_are_joined_exactly_if_a_chain_of_copies_and_groups_connects_them(rows: list[tuple[str, str]]) -> None:
    contents, groups = [content for content, _ in rows], [group for _, group in rows]
    found = join_groups(contents, groups, ["l"] * len(rows), [])
    joined = [{i} for i in range(len(rows))]
    for _ in rows:  # slowly: until nothing changes
        for i in range(len(rows)):
            for j in range(len(rows)):
                if contents[i] == contents[j] or (groups[i] and groups[i] == groups[j]):
                    both = joined[i] | joined[j]
                    for k in both:
                        joined[k] = both
    for i in range(len(rows)):
        assert {j for j in range(len(rows)) if found[j] == found[i]} == joined[i]


def test_almost_equal_pictures_are_joined_within_a_class_if_enough_groups_remain() -> None:
    contents = [f"{i:02d}" for i in range(12)]
    labels = ["a"] * 6 + ["b"] * 6
    pairs = [Pair(0, 1, 0.99), Pair(5, 6, 0.99)]
    joined = join_groups(contents, [], labels, pairs)
    assert joined[0] == joined[1]  # five groups are left in each class
    assert joined[5] != joined[6]  # of two classes: a wrong label, perhaps
    assert join_groups(contents, [], labels, [*pairs, Pair(2, 3, 0.99)]) == contents


def test_no_row_is_judged_by_a_head_that_saw_its_group(tmp_path: Path) -> None:
    noise = np.random.default_rng(2).standard_normal((60, 200)).astype(np.float32)  # nothing to learn but the rows
    features = np.tile(noise, (3, 1)) + 0.3 * np.random.default_rng(3).standard_normal((180, 200)).astype(np.float32)
    labels, contents = [f"c{i % 2}" for i in range(60)] * 3, [str(i) for i in range(180)]
    videos = [f"video {i}" for i in range(60)] * 3
    heads = Heads(tmp_path)
    honest = heads.train("h", features, labels, contents, PROVENANCE, own_groups=videos)
    fooled = heads.train("fooled", features, labels, contents, PROVENANCE)  # "h" would keep its split
    assert honest.measures is not None
    assert fooled.measures is not None
    assert honest.measures.accuracy.value < 0.75
    assert fooled.measures.accuracy.value > 0.9
    assert heads.judgement("h", 1)[1].contents == tuple(contents)


def test_very_similar_classes_remain_trainable(tmp_path: Path) -> None:
    data = make_labelled(6, 3, 40, noise=0.01)  # every class is one picture, nearly
    assert Heads(tmp_path).train("h", data.features, data.labels, data.groups, PROVENANCE).accuracy == 1


# Tables


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "sub/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def test_a_csv_file_is_read(folder: Path) -> None:
    (folder / "t.csv").write_bytes(
        '\ufefflabel,path,group,note\n"rose, red",a.png,v1,x\ntulpe ü,sub/c.png,,y\n'.encode()
    )
    first, second = read_manifest(folder / "t.csv")
    assert (first.name, first.label, first.group, first.path) == ("a.png", "rose, red", "v1", folder / "a.png")
    assert (second.name, second.label, second.group, second.weight) == ("sub/c.png", "tulpe ü", "", 1.0)
    (folder / "w.csv").write_text("path,label,weight\na.png,x,2.5\nb.png,y,\n")
    assert [row.weight for row in read_manifest(folder / "w.csv")] == [2.5, 1.0]


def test_a_parquet_file_is_read(folder: Path) -> None:
    table = pyarrow.table({"path": ["a.png", "b.png"], "label": [3, 4], "group": [None, "g"], "other": [1.0, 2.0]})
    pyarrow.parquet.write_table(table, folder / "t.parquet")
    found = read_manifest(folder / "t.parquet")
    assert [(row.name, row.label, row.group) for row in found] == [("a.png", "3", ""), ("b.png", "4", "g")]


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        (b"path,kind\na.png,x\n", InvalidArgument, r"has no column 'label'\. Its columns are: path, kind"),
        (b"path,label,weight\na.png,x,-2\n", InvalidArgument, "weight '-2', which is not a positive number"),
        (b"", InvalidArgument, "has no column 'path' or 'label'"),
        (b"path,label\na.png,\n", InvalidArgument, "row 2 .* has no label"),
        (b"path,label\na.png\n", InvalidArgument, "row 2 .* has no label"),
        (b"path,label\n,x\n", InvalidArgument, "row 2 .* has no path"),
        (b"path,label\na.png,x\nno.png,y\n", NotFound, "1 of 2 pictures .* do not exist: 'no.png'"),
        ("path,label\na.png,Ä\n".encode("latin-1"), InvalidArgument, "is not UTF-8"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(folder: Path, content: bytes, kind: type[Exception], text: str) -> None:
    (folder / "t.csv").write_bytes(content)
    with pytest.raises(kind, match=text):
        read_manifest(folder / "t.csv")


def test_what_is_no_table_is_refused(folder: Path) -> None:
    (folder / "t.parquet").write_bytes(b"no table")
    with pytest.raises(InvalidArgument, match="is not a Parquet file"):
        read_manifest(folder / "t.parquet")
    with pytest.raises(NotFound, match="does not exist"):
        read_manifest(folder / "missing.csv")


def test_a_head_that_is_trained_again_is_tested_on_the_same_pictures(tmp_path: Path) -> None:
    heads, data = Heads(tmp_path / "heads"), make_labelled(9, 3, 8)
    for rows in (slice(0, 21), slice(3, 27)):
        part = data[rows]
        heads.train("h", part.features, part.labels, part.groups, PROVENANCE)
    before, after = (heads.judgement("h", version)[1] for version in (1, 2))
    folds = dict(zip(before.contents, before.folds.tolist(), strict=True))
    again = dict(zip(after.contents, after.folds.tolist(), strict=True))
    both = folds.keys() & again.keys()
    assert len(both) == 18
    assert sum(folds[content] != again[content] for content in both) <= 3  # a class may have lost its held-out picture
    part = data[3:27]
    heads.train("other", part.features, part.labels, part.groups, PROVENANCE)
    alone = heads.judgement("other")[1]
    fresh = dict(zip(alone.contents, alone.folds.tolist(), strict=True))
    assert sum(folds[content] != fresh[content] for content in both) > 3
