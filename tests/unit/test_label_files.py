"""Label records in files of other programs: what is written comes back, and what is no label fails by itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fc7._label_files.coco import read_coco, write_coco
from fc7._label_files.csv_rows import read_csv, write_csv
from fc7._label_files.folders import find_pictures, read_folders, write_folders
from fc7._label_files.label_studio import read_label_studio, write_label_studio
from fc7._label_files.rows import Row, refuse_contradictions
from fc7.contract.held_labels import Recorded, held_labels
from fc7.contract.image_digest import image_digest
from fc7.errors import FailedPrecondition, InvalidArgument, NotFound
from fc7.results import Item, Label, Labelled

FILE = Path("labels")
LABELS = [
    Label('a,b/"1".jpg', "big cat", "positive", "ann", 0, "2026-05-01T12:00:00.000+00:00"),
    Label("b.jpg", "Straße", "negative", "places", 3, "2026-05-01T12:00:00.000+00:00"),
    Label("b.jpg", " spaced ", "unsure", "", 0, "2026-05-01T12:00:00.000+00:00"),
]
HELD = {'a,b/"1".jpg': ["big cat", "Straße"], "?d=x&y.jpg": ["big cat"], "http://[": ["x"]}
Read = Callable[[Path, bytes, str], Iterator[Row]]


def pairs(rows: Any) -> list[tuple[str, str]]:
    return [(row.id, row.label) for row in rows]


def texts(rows: Any) -> list[str]:
    """Return the label of each row, or what is wrong with it."""
    return [row.label if isinstance(row, Label) else str(row.error) for row in rows]


def test_csv_comes_back(tmp_path: Path) -> None:
    write_csv(tmp_path / "labels.csv", LABELS)
    assert list(read_csv(FILE, (tmp_path / "labels.csv").read_bytes(), "")) == LABELS


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_csv_of_others(encoding: str) -> None:
    data = "label,id,note\r\nStraße,a.jpg,x\r\n".encode(encoding)
    assert list(read_csv(FILE, data, "ann")) == [Label("a.jpg", "Straße", "positive", "ann")]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no column id and no column label"),
        (b"id,path\na,b\n", "no column label"),
        (b"\xff\xfei", "not UTF-16"),
        (b"i\0d\0,\0l\0", "no column id"),
    ],
)
def test_what_is_no_csv_of_labels(data: bytes, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem):
        list(read_csv(FILE, data, ""))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"a", "line 2 does not have 4 columns"),
        (b"a,b,c,d,e", "line 2 does not have 4 columns"),
        (b",b,,", "line 2 has no id"),
        (b"a,b,maybe,", "line 2 has the verdict 'maybe'. Use positive, negative, unsure"),
        (b"a,b,,-1", "line 2 has the head_version '-1'"),
        (b'a,"b"x,,', "line 2: ',' expected"),
        (b"a,caf\xe9,,", "line 2 is not UTF-8. Save the file as UTF-8"),
    ],
)
def test_a_bad_line_fails_by_itself(line: bytes, problem: str) -> None:
    bad, good = read_csv(FILE, b"id,label,verdict,head_version\n" + line + b"\nb,cat,,\n", "")
    assert isinstance(bad, Labelled)
    assert bad.status == "failed"
    assert problem in str(bad.error)
    assert isinstance(bad.error, InvalidArgument)
    assert good == Label("b", "cat")


def test_what_contradicts_fails_unless_a_time_orders_it() -> None:
    rows: list[Row] = [Label("a", "cat"), Label("a", "cat", "negative"), Label("a", "cat", "negative", "ann")]
    newer = [Label("b", "cat", "positive", time="2026-01-01"), Label("b", "cat", "negative", time="2026-01-02")]
    checked = refuse_contradictions([*rows, *newer, Label("a", "cat")])
    problem = "'cat' is positive and negative for the same item. Keep one of these rows"
    assert texts(checked) == [problem, problem, "cat", "cat", "cat", problem]


def test_coco_and_label_studio_come_back(tmp_path: Path) -> None:
    expected = [(own, label) for own, labels in HELD.items() for label in labels]
    write_coco(tmp_path / "coco", "photos", HELD)
    assert pairs(read_coco(FILE, (tmp_path / "coco").read_bytes(), "ann")) == expected
    write_label_studio(tmp_path / "tasks", HELD, dict.fromkeys(HELD, "/p/a.jpg"))
    assert pairs(read_label_studio(FILE, (tmp_path / "tasks").read_bytes(), "ann")) == expected


def test_coco_of_others() -> None:
    whole = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2}, {"id": 3, "file_name": "b"}, {"id": 3}, 7],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]},
            {"image_id": 1, "category_id": 1, "bbox": [2, 2, 1, 1]},
            {"image_id": 1, "category_id": 2}, {"image_id": 2, "category_id": 1}, {"image_id": 3, "category_id": 1},
            {"image_id": [], "category_id": {}}, None,
        ],
    }  # fmt: skip
    rows = list(read_coco(FILE, json.dumps(whole).encode(), "ann"))
    assert rows[0] == Label("a.jpg", "cat", "positive", "ann")
    assert texts(rows[1:]) == [
        "annotation 3 has the category 2, which has no name or several",
        "annotation 4 is about image 2, which has no file_name",
        "annotation 5 is about image 3, of which there are 2",
        "annotation 6 is about image None, of which there are 0",
        "annotation 7 is about image None, of which there are 0",
    ]


def test_label_studio_of_others() -> None:
    def task(image: Any, *results: Any, **annotation: Any) -> dict[str, Any]:
        return {"data": {"image": image}, "annotations": [{"result": results} | annotation]}

    cat = {"type": "choices", "value": {"choices": ["cat"]}}
    who = {"completed_by": {"email": "ann@x"}, "created_at": "2026-05-01T12:00:00.123456Z"}
    tasks = [
        task("/data/local-files/?d=beach%2Fa.jpg", cat, **who),
        task("/data/upload/3/0a1b2c3d-b.jpg", {"type": "rectanglelabels"}, cat, completed_by=7),
        task("c.jpg", cat, was_cancelled=True),
        {"data": {"image": "d.jpg"}},
        {"image": "e.jpg", "choice": "cat"},
        task("f.jpg", {"type": "choices", "value": {"choices": "cat"}}),
        task("g.jpg", {"type": "choices"}, "x"),
        {"data": {"image": "h.jpg"}, "annotations": [{}]},
        {"data": {"image": "i.jpg"}, "annotations": 1},
        None,
    ]
    rows = list(read_label_studio(FILE, json.dumps(tasks).encode(), "me"))
    assert rows[0] == Label("beach/a.jpg", "cat", "positive", "ann@x", 0, "2026-05-01T12:00:00.123456Z")
    assert rows[1] == Label("b.jpg", "cat", "positive", "me")
    assert texts(rows[2:]) == [
        "task 5 has neither data.id nor data.image, so that its item is not known",
        "the choices of task 6 are not a list of texts",
        "the choices of task 7 are not a list of texts",
        "an annotation of task 8 has no list of results",
        "the annotations of task 9 are not a list",
        "task 10 has neither data.id nor data.image, so that its item is not known",
    ]


@pytest.mark.parametrize(
    ("read", "data", "problem"),
    [
        (read_coco, b"{", "it is not JSON"),
        (read_coco, b"[]", "it is not a JSON object"),
        (read_coco, b'{"images": [], "annotations": 1}', "it has no list 'annotations'"),
        (read_label_studio, b"{}", "it is not a JSON list"),
        (read_label_studio, b"\xe9", "it is not JSON"),
        (read_label_studio, b"[" * 10**6, "it is not JSON"),
    ],
)
def test_what_is_no_json_of_labels(read: Read, data: bytes, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=f"'labels' holds no labels: {problem}"):
        list(read(FILE, data, ""))


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def item(own: str, path: Any, data: bytes) -> Item:
    return Item(own, {"path": str(path) if isinstance(path, Path) else path}, image_digest(data).hex())


def test_folders_come_back(tmp_path: Path) -> None:
    files = {own: write(tmp_path / own / "x.jpg", own.encode()) for own in ("a", "b", "c", "d", "e")}
    items = [item(own, path, own.encode()) for own, path in files.items()]
    files["c"].write_bytes(b"other")
    files["d"].unlink()
    labels = {"a": "cat", "b": "cat", "c": "cat", "d": "dog", "e": "../dog", "f": "cat"}
    missing = NotFound("gone")
    failed = write_folders(tmp_path / "out", labels, [*items, missing])
    assert [one.id for one in failed] == ["c", "d", "e", "f"]
    assert [str(one.error) for one in failed] == [
        f"its picture {str(files['c'])!r} has changed since it was added",
        f"its picture {str(files['d'])!r} cannot be read",
        "the label '../dog' cannot be the name of a folder",
        "gone",
    ]
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.jpg")) == [
        "cat/x-2.jpg",
        "cat/x.jpg",
    ]
    ids = {one.content_sha256: [one.id] for one in items}
    rows = read_folders(tmp_path / "out", find_pictures(tmp_path / "out"), ids, "photos", "ann")
    assert sorted(pairs(rows)) == [("a", "cat"), ("b", "cat")]
    with pytest.raises(FailedPrecondition, match="is not empty"):
        write_folders(tmp_path / "out", {}, [])


def test_folders_of_others(tmp_path: Path) -> None:
    write(tmp_path / "cat/deep/a.jpg", b"a")
    write(tmp_path / "cat/b.jpg", b"b")
    write(tmp_path / "dog/b.jpg", b"b")
    write(tmp_path / "dog/c.jpg", b"c")
    write(tmp_path / "dog/.hidden.jpg", b"h")
    write(tmp_path / ".git/d.jpg", b"d")
    write(tmp_path / "dog/notes.txt", b"t")
    write(tmp_path / "top.jpg", b"top")
    (tmp_path / "dog/e.jpg").symlink_to(tmp_path / "nowhere")
    ids = {image_digest(b"a").hex(): ["1", "2"], image_digest(b"b").hex(): ["3"]}
    rows = list(read_folders(tmp_path, find_pictures(tmp_path), ids, "photos", "ann"))
    problem = "the same picture is in the folders 'cat' and 'dog'. Keep it in one of them"
    unknown = "collection 'photos' has no item with the bytes of 'dog/c.jpg'. Add the picture first"
    assert sorted(texts(rows)) == sorted([problem, "cat", "cat", problem, unknown, "'dog/e.jpg' cannot be read"])
    with pytest.raises(InvalidArgument, match="has no folders with pictures"):
        find_pictures(tmp_path / "cat/deep")
    with pytest.raises(NotFound, match="does not exist"):
        find_pictures(tmp_path / "nowhere")


def test_the_newest_record_holds_and_a_person_outranks_a_head() -> None:
    records = [
        (Recorded("a", "cat", False, False), 1),
        (Recorded("a", "dog", False, False), 2),
        (Recorded("a", "cat", False, False), 3),
        (Recorded("a", "dog", True, False), 4),
        (Recorded("b", "cat", False, True), 5),
    ]
    held = held_labels(records)
    assert held == {"a": {"dog": 2, "cat": 3}}
    assert list(held["a"]) == ["dog", "cat"]
