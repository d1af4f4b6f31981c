"""What is taken of folders, what is passed over, and which classes folders name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from denied import refuse_folder
from fc7.cli.folder_labels import folder_labels, labelled_images
from fc7.cli.folder_scan import FolderScan
from fc7.cli.image_arguments import find_images
from fc7.errors import InvalidArgument


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def ids(folder: Path, scan: FolderScan) -> list[str]:
    return [image.id for image in find_images([folder], scan)]


def test_every_picture_is_taken_or_counted_with_its_reason(tmp_path: Path) -> None:
    write(tmp_path, "a/1.jpg", "a/2.png", "a/3.JXL", "b/4.jxl", "5.psd", "6.svg")
    write(tmp_path, ".7.jpg", ".cache/8.jpg", ".cache/x/9.png", ".cache/x/text.txt", ".DS_Store", ".10.jxl")
    write(
        tmp_path,
        "a/@eaDir/11.jpg",
        "__MACOSX/12.jpg",
        "#recycle/13.jpg",
        "lost+found/x/14.jpg",
        "a/.AppleDouble/15.jpg",
    )
    write(tmp_path, "notes.txt", "a/film.mov", "b/film.MOV", "README")
    scan = FolderScan()
    assert ids(tmp_path, scan) == ["a/1.jpg", "a/2.png"]
    assert scan.to_dict() == {
        "JPEG XL": 2, "Photoshop": 1, "SVG": 1, "hidden": 5, "other": 4,
        "@eaDir": 1, "__MACOSX": 1, "#recycle": 1, "lost+found": 1,
    }  # fmt: skip
    text = str(scan)
    assert text.startswith("passed over: ")
    for part in ("2 JPEG XL", "(not read: convert them to JPEG or PNG)", "5 hidden", "1 in @eaDir", "1 in lost+found"):
        assert part in text
    assert "4 other files (.mov, no suffix, .txt)" in text
    assert str(FolderScan()) == ""


@pytest.mark.parametrize(
    ("pattern", "taken"),
    [
        ("thumbs", ["a/1.jpg", "a/1_small.jpg"]),
        ("thumbs/", ["a/1.jpg", "a/1_small.jpg"]),
        ("*_small.jpg", ["a/1.jpg", "a/thumbs/1.jpg", "thumbs/1.jpg"]),
        ("a/*", ["thumbs/1.jpg"]),
        ("a/thumbs", ["a/1.jpg", "a/1_small.jpg", "thumbs/1.jpg"]),
        ("A", ["a/1.jpg", "a/1_small.jpg", "a/thumbs/1.jpg", "thumbs/1.jpg"]),
    ],
)
def test_what_a_pattern_excludes(pattern: str, taken: list[str], tmp_path: Path) -> None:
    write(tmp_path, "a/1.jpg", "a/1_small.jpg", "a/thumbs/1.jpg", "thumbs/1.jpg")
    scan = FolderScan([pattern])
    assert ids(tmp_path, scan) == taken
    assert scan.to_dict() == ({"excluded": 4 - len(taken)} if len(taken) < 4 else {})


def test_a_lone_file_can_be_excluded(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "b.jpg")
    scan = FolderScan(["b.*"])
    assert [image.id for image in find_images([tmp_path / "a.jpg", tmp_path / "b.jpg"], scan)] == ["a.jpg"]
    assert scan.to_dict() == {"excluded": 1}


def test_a_folder_that_cannot_be_read_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a/1.jpg", "b/c/2.jpg", "d/3.jpg")
    refuse_folder(monkeypatch, tmp_path / "b" / "c")
    scan = FolderScan()
    assert ids(tmp_path, scan) == ["a/1.jpg", "d/3.jpg"]
    assert scan.unreadable == [(tmp_path / "b" / "c", "Permission denied")]
    assert str(scan) == "passed over: 1 unreadable folder"
    excluding = FolderScan(["c"])
    assert ids(tmp_path, excluding) == ["a/1.jpg", "d/3.jpg"]
    assert excluding.unreadable == []


def test_linked_folders_are_searched_once_and_loops_end(tmp_path: Path) -> None:
    write(tmp_path, "top/a/1.jpg", "elsewhere/rose/2.jpg", "elsewhere/rose/deep/3.jpg")
    top = tmp_path / "top"
    (top / "rose").symlink_to(tmp_path / "elsewhere" / "rose")
    (top / "again").symlink_to(top / "a")
    (top / "a" / "loop").symlink_to(top)
    (tmp_path / "elsewhere" / "rose" / "loop").symlink_to(tmp_path / "elsewhere")
    (top / "nowhere").symlink_to(tmp_path / "missing")
    scan = FolderScan()
    assert ids(top, scan) == ["a/1.jpg", "rose/2.jpg", "rose/deep/3.jpg"]
    assert scan.to_dict() == {"linked": 4 - 1, "other": 1}


def test_a_linked_class_is_a_class(tmp_path: Path) -> None:
    write(tmp_path, "flowers/tulip/1.jpg", "elsewhere/2.jpg")
    (tmp_path / "flowers" / "rose").symlink_to(tmp_path / "elsewhere")
    images, labels = labelled_images(tmp_path / "flowers", FolderScan())
    assert labels == ["rose", "tulip"]
    assert os.path.samefile(images[0].path, tmp_path / "elsewhere" / "2.jpg")


def test_of_a_data_set_the_training_part_gives_the_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "train/a/1.jpg", "train/b/x/2.jpg", "train/c/3.jxl", "val/a/4.jpg", "val/d/5.jpg", "Test/6.jpg")
    scan = FolderScan()
    images, labels = labelled_images(tmp_path, scan)
    assert [image.id for image in images] == ["train/a/1.jpg", "train/b/x/2.jpg"]
    assert labels == ["a", "b"]
    assert scan.to_dict() == {"JPEG XL": 1, "val": 2, "Test": 1}
    said = capsys.readouterr().err
    assert "classes are the folders in train/; Test/ and val/ left out" in said
    assert f"{tmp_path}/train/c: not a class, because fc7 can read no image in this folder. It holds 1 JPEG XL" in said
    assert folder_labels(find_images([tmp_path], FolderScan())) == [None, "a", "b", "a", "d"]


def test_a_train_may_be_a_class(tmp_path: Path) -> None:
    write(tmp_path / "vehicles", "train/1.jpg", "bus/2.jpg")
    assert labelled_images(tmp_path / "vehicles", FolderScan())[1] == ["bus", "train"]
    write(tmp_path / "lone", "train/rose/1.jpg", "train/tulip/2.jpg")
    assert labelled_images(tmp_path / "lone", FolderScan())[1] == ["rose", "tulip"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["train/1.jpg", "val/2.jpg"], r"/train' holds 1 image outside its sub-folders"),
        (
            ["train/a/1.jpg", "val/a/2.jpg", "docs/3.jpg"],
            r"train/ and val/, the parts of a data set, beside docs/.*--exclude",
        ),
        (["val/a/1.jpg", "test/a/2.jpg"], "no train/"),
        (["a/1.jpg", "2.jpg"], r"holds 1 image outside its sub-folders"),
    ],
)
def test_folders_that_name_no_classes(names: list[str], said: str, tmp_path: Path) -> None:
    write(tmp_path, *names)
    with pytest.raises(InvalidArgument, match=said):
        labelled_images(tmp_path, FolderScan())


def test_a_class_folder_without_a_picture_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "a/1.jpg", "b/2.jpg", "phone/3.JXL", "phone/x/4.jxl", ".git/5.jpg", "@eaDir/6.jpg")
    (tmp_path / "empty").mkdir()
    assert labelled_images(tmp_path, FolderScan())[1] == ["a", "b"]
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"fc7: {tmp_path}/empty: not a class, because fc7 can read no image in this folder. It holds nothing",
        f"fc7: {tmp_path}/phone: not a class, because fc7 can read no image in this folder. It holds 2 JPEG XL",
    ]
