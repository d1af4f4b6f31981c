"""Damaged, cut, missing and newer files of heads, and what happens when a write is interrupted."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from pathlib import Path

import pytest

import fc7
from fc7.errors import DataLoss, FailedPrecondition, ResourceExhausted
from fc7_service.heads import records
from fc7_service.heads.head_version import UNREADABLE
from fc7_service.heads.registry import Heads
from labelled import PROVENANCE, make_labelled

DATA = make_labelled(4, 2, 8)
FILES = ("1/manifest.json", "1/weights.safetensors", "published.json")


def train(heads: Heads, name: str):
    return heads.train(name, DATA.features, DATA.labels, DATA.groups, PROVENANCE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two published heads, "good" and "hurt"."""
    heads = Heads(tmp_path / "heads")
    for name in ("good", "hurt"):
        train(heads, name)
        heads.publish(name)
    return tmp_path / "heads"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("file", FILES)
def test_every_flipped_bit_is_found(folder, file):
    path = folder / "hurt" / file
    whole = path.read_bytes()
    step = max(1, len(whole) // 400)
    for place in range(0, len(whole), step):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(DataLoss, match="'hurt'"):
                Heads(folder).classifier("hurt")
    path.write_bytes(whole)
    assert Heads(folder).classifier("hurt").version.version == 1


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.99])
def test_a_cut_file_is_found_and_the_others_serve(folder, file, keep):
    path = folder / "hurt" / file
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    heads = Heads(folder)
    with pytest.raises(
        DataLoss, match=f"'hurt'.*{path.name} is .*damaged.*(restore it from a backup|Whole versions: 1)"
    ):
        heads.classifier("hurt")
    assert heads.classifier("good").predict(DATA.features).shape == (8, 2)
    assert [head.name for head in heads.list()] == ["good", "hurt"]


@pytest.mark.parametrize("file", FILES[:2])
def test_a_missing_file_is_found(folder, file):
    (folder / "hurt" / file).unlink()
    with pytest.raises(DataLoss, match="'hurt'"):
        Heads(folder).classifier("hurt")


def test_an_unreadable_head_is_listed_as_such(folder):
    (folder / "hurt" / "1" / "manifest.json").write_text("{}")
    heads = Heads(folder)
    good, hurt = heads.list()
    assert good.method != UNREADABLE
    assert (hurt.name, hurt.version, hurt.method, hurt.classes) == ("hurt", 1, UNREADABLE, ())
    with pytest.raises(DataLoss, match="manifest"):
        heads.get("hurt")


def test_a_damaged_pointer_hides_nothing_and_is_healed_by_publishing(folder):
    (folder / "hurt" / "published.json").write_bytes(b"\xff")
    heads = Heads(folder)
    train(heads, "hurt")
    train(heads, "hurt")
    (folder / "hurt" / "2" / "weights.safetensors").write_bytes(b"cut")
    for ask in (heads.check_published, heads.classifier):
        with pytest.raises(DataLoss, match=r"hurt/published.json is damaged, .*Whole versions: 1, 3\. Publish one"):
            ask("hurt")
    good, hurt = heads.list()
    assert good.method != UNREADABLE
    assert (hurt.name, hurt.version, hurt.method) == ("hurt", 3, UNREADABLE)
    assert heads.get("hurt").version == 3
    with pytest.raises(DataLoss):
        heads.delete("hurt", 1)  # it may be the published one
    heads.publish("hurt", 1)
    assert heads.classifier("hurt").version.version == 1
    assert heads.list()[1].method != UNREADABLE
    heads.check_published("hurt")


def test_the_caller_hears_of_a_damaged_pointer(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "data" / "heads")
    (tmp_path / "data" / "heads" / "hurt" / "published.json").write_bytes(b"\xff")
    with fc7.connect(data=tmp_path / "data") as client:
        with pytest.raises(DataLoss, match=r"hurt/published.json is damaged, .*Whole versions: 1\."):
            client.head("hurt")
        assert [head.method == UNREADABLE for head in client.heads()] == [False, True]
        client.publish_head("hurt")
        assert client.head("hurt").published_version == 1


def test_damaged_weights_are_not_published(folder):
    heads = Heads(folder)
    train(heads, "hurt")
    (folder / "hurt" / "2" / "weights.safetensors").write_bytes(b"")
    with pytest.raises(DataLoss, match="2/weights"):
        heads.publish("hurt")
    assert heads.classifier("hurt").version.version == heads.published("hurt") == 1


def test_a_damaged_version_can_be_left_behind_or_deleted(folder):
    heads = Heads(folder)
    train(heads, "hurt")
    (folder / "hurt" / "1" / "weights.safetensors").write_bytes(b"")
    heads.publish("hurt", 2)
    assert Heads(folder).classifier("hurt").version.version == 2
    heads.delete("hurt", 1)
    (folder / "hurt" / "published.json").write_bytes(b"")
    Heads(folder).delete("hurt")
    assert [head.name for head in Heads(folder).list()] == ["good"]


@pytest.mark.parametrize("file", ["1/manifest.json", "published.json"])
def test_a_newer_format_is_refused(folder, file, monkeypatch):
    path = folder / "hurt" / file
    values = json.loads(path.read_bytes())
    del values["sha256"], values["format"]
    monkeypatch.setattr(records, "FORMAT", 2)
    records.write_record(path, {**values, "something": "new"})
    monkeypatch.undo()
    heads = Heads(folder)
    with pytest.raises(FailedPrecondition, match=r"'hurt'.*newer fc7"):
        heads.classifier("hurt")
    assert [head.name for head in heads.list()] == ["good", "hurt"]


def test_the_files_of_another_head_are_refused(folder):
    os.replace(folder / "good" / "1" / "manifest.json", folder / "hurt" / "1" / "manifest.json")
    with pytest.raises(DataLoss, match=r"'hurt'.* describes version 1 of head 'good'"):
        Heads(folder).get("hurt")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", ["fsync", "replace", "rename"])
@pytest.mark.parametrize("action", ["train", "publish", "delete"])
def test_a_disk_that_refuses_loses_nothing(folder, monkeypatch, number, call, action):
    heads = Heads(folder)
    train(heads, "hurt")
    before, calls = snapshot(folder), []

    def refuse(*args, **kwargs):
        calls.append(args)
        raise OSError(number, os.strerror(number))

    run = {
        "train": lambda: train(heads, "hurt"),
        "publish": lambda: heads.publish("hurt", 2),
        "delete": lambda: heads.delete("good"),
    }[action]
    monkeypatch.setattr(os, call, refuse)
    kind = ResourceExhausted if number == errno.ENOSPC else FailedPrecondition
    if (action, call) in (("publish", "rename"), ("delete", "replace")):
        run()  # these do without
        assert not calls
        return
    with pytest.raises(kind, match=r"head '(hurt|good)' cannot be changed"):
        run()
    monkeypatch.undo()
    after = Heads(folder)
    if (action, call) != ("delete", "fsync"):  # gone from sight, and the caller knows that it may come back
        assert snapshot(folder) == before
        assert after.classifier("good").version.version == 1
    assert after.classifier("hurt").version.version == 1
    assert train(after, "hurt").version == 3


def test_what_a_killed_process_left_is_swept(folder):
    for leftover in (".part-x", ".deleted-y"):
        (folder / leftover / "version").mkdir(parents=True)
    (folder / "hurt" / "published.json.part").write_bytes(b"half")
    heads = Heads(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["good", "hurt"]
    assert heads.classifier("hurt").version.version == 1
    heads.publish("hurt")
    assert not (folder / "hurt" / "published.json.part").exists()


def test_a_folder_that_is_not_ours_is_left_alone(folder):
    (folder / ".snapshots" / "monday").mkdir(parents=True)
    (folder / ".note").write_text("mine")
    heads = Heads(folder)
    assert (folder / ".snapshots" / "monday").is_dir()
    assert (folder / ".note").read_text() == "mine"
    assert [head.name for head in heads.list()] == ["good", "hurt"]


def test_readers_see_whole_versions_while_others_train_and_publish(tmp_path):
    heads = Heads(tmp_path / "heads")
    train(heads, "h")
    heads.publish("h")
    errors, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            try:
                assert heads.classifier("h").predict(DATA.features).shape == (8, 2)
                assert [head.name for head in heads.list()] == ["h"]
            except BaseException as error:
                errors.append(error)
                return

    def write():
        for _ in range(5):
            train(heads, "h")
            heads.publish("h")

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [
        threading.Thread(target=lambda: [(train(heads, "h"), heads.publish("h")) for _ in range(5)]) for _ in "ab"
    ]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in readers:
        thread.join()
    assert not errors
    assert heads.get("h").version == 11
    assert heads.published("h") == 11
