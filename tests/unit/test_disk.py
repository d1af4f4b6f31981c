"""Files and folders change in one step, or not at all."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fc7_service.bundle import disk
from fc7_service.bundle.disk import hide_folder, new_folder, remove_leftovers, replace_file


@pytest.mark.parametrize("is_durable", [True, False])
def test_a_file_is_replaced_in_one_step(tmp_path: Path, is_durable: bool) -> None:
    path = tmp_path / "record"
    for data in (b"old", b"new and longer"):
        replace_file(path, data, is_durable=is_durable)
        assert path.read_bytes() == data
    (tmp_path / "record.part").write_bytes(b"left by a killed process")
    replace_file(path, b"newest")
    assert path.read_bytes() == b"newest"
    assert [file.name for file in tmp_path.iterdir()] == ["record"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_file_that_cannot_be_replaced_is_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "record"
    replace_file(path, b"old")

    def refuse(*args: object) -> None:
        raise OSError("no")

    with monkeypatch.context() as broken:
        broken.setattr(os, call, refuse)
        with pytest.raises(OSError, match="no"):
            replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["record"]


@pytest.mark.skipif(os.name == "nt", reason="no permission bits")
def test_a_private_file_is_never_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "address"
    path.write_bytes(b"readable by all")
    replace_file(path, b"secret", mode=0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a", tmp_path) as folder:
        (folder / "file").write_text("whole")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a" / "file").read_text() == "whole"
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "b", tmp_path) as folder:
        (folder / "missing" / "file").write_text("half")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in ("a", ".snapshots", ".new-1", ".part-2", ".gone-3"):  # the last two as release 0.2 named them
        (tmp_path / name / "inner").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    assert hide_folder(tmp_path / "b", tmp_path).is_dir()
    assert not (tmp_path / "b").exists()
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".snapshots", "a"]


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes no folder."""

    def refuse(folder: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(disk, "sync_folder", refuse)


@pytest.mark.usefixtures("no_sync")
def test_a_change_whose_sync_fails_is_undone(tmp_path: Path) -> None:
    """So that "it failed" is true, and a second try finds what the first one found."""
    (tmp_path / "record").write_bytes(b"old")
    for name in ("record", "other"):
        with pytest.raises(OSError, match="Input/output"):
            replace_file(tmp_path / name, b"new")
    (tmp_path / "b").mkdir()
    with pytest.raises(OSError, match="Input/output"):
        hide_folder(tmp_path / "b", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "record"]
    assert (tmp_path / "record").read_bytes() == b"old"


def test_a_folder_whose_last_sync_fails_does_not_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_outside(folder: Path) -> None:
        if folder == tmp_path:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(disk, "sync_folder", refuse_outside)
    with pytest.raises(OSError, match="Input/output"), new_folder(tmp_path / "a", tmp_path) as folder:
        (folder / "file").write_text("whole")
    assert list(tmp_path.iterdir()) == []


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda i: replace_file(tmp_path / "record", bytes([i]) * 1000), range(64)))
    data = (tmp_path / "record").read_bytes()
    assert data == data[:1] * 1000
    assert [path.name for path in tmp_path.iterdir()] == ["record"]
