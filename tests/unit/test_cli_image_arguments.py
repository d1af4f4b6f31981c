"""Which images a PATH names, and their ids."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from denied import refuse_folder
from fc7.cli.folder_scan import FolderScan
from fc7.cli.image_arguments import find_images, find_items
from fc7.errors import FailedPrecondition, InvalidArgument, NotFound


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "b/2.JPG",
        "b/1.jpeg",
        "a.png",
        "c/d/e.WebP",
        "c/f.JFIF",
        "notes.txt",
        ".hidden.jpg",
        ".cache/x.jpg",
        "b/.x.png",
    ):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "pictures"


def test_a_folder_is_searched_at_any_depth_sorted_hidden_files_passed_over(folder: Path) -> None:
    found = find_images([folder], FolderScan())
    assert [image.id for image in found] == ["a.png", "b/1.jpeg", "b/2.JPG", "c/d/e.WebP", "c/f.JFIF"]
    assert [image.folder for image in found] == [None, "b", "b", "c", "c"]
    assert found[1].path == folder / "b" / "1.jpeg"


def test_a_lone_file_is_taken_whatever_its_suffix(folder: Path) -> None:
    found = find_images([folder / "notes.txt", folder / "b" / "2.JPG"], FolderScan())
    assert [image.id for image in found] == ["notes.txt", "2.JPG"]
    assert found[1].folder is None


def test_a_hidden_folder_that_is_named_is_searched(folder: Path) -> None:
    assert [image.id for image in find_images([folder / ".cache"], FolderScan())] == ["x.jpg"]


def test_a_relative_folder_stays_relative(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert find_images([Path("pictures")], FolderScan())[0].path == Path("pictures/a.png")


def test_one_id_twice_is_refused_with_both_paths(folder: Path) -> None:
    other = folder.parent / "other" / "b"
    other.mkdir(parents=True)
    (other / "1.jpeg").write_bytes(b"y")
    with pytest.raises(InvalidArgument, match=r"other.*'b/1.jpeg'.*the folder above them, or two runs"):
        find_items([folder, folder.parent / "other"], "two runs", FolderScan())
    with pytest.raises(InvalidArgument):
        find_items([folder, folder], "", FolderScan())
    assert len(find_images([folder, folder], FolderScan())) == 10


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"missing\.jpg"):
        find_images([tmp_path / "missing.jpg"], FolderScan())


def test_a_folder_without_images_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InvalidArgument, match=r"holds no image.*\.webp.*Passed over: 1 other file \(\.txt\)"):
        find_images([tmp_path], FolderScan())


def test_a_path_that_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_folder(monkeypatch, folder)
    with pytest.raises(FailedPrecondition, match=r"pictures' cannot be read: Permission denied"):
        find_images([folder], FolderScan())


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux alone")
def test_a_name_that_is_not_text_gets_an_id_that_is(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    with open(path, "wb") as file:
        file.write(b"x")
    (found,) = find_images([tmp_path], FolderScan())
    assert found.id == "caf\\xe9.jpg"
    assert found.name == f"{tmp_path}/caf\\xe9.jpg"
    assert found.path.read_bytes() == b"x"
