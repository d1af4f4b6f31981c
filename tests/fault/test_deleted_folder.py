"""The data folder is deleted under a running server: every answer says so, and no other is taken for it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

import fc7
from fc7_service.data_folder import DataFolder, RunningServer, read_running_server
from servers import jpeg, serving

PATIENCE_S = 30


def test_a_server_whose_folder_is_deleted_says_so(tiny_bundle: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data, "--model", str(tiny_bundle)) as served, fc7.connect(served.address) as client:
        client.create_collection("c", layer="fc7").add([jpeg(i) for i in range(4)], ids=list("abcd"))
        assert client.is_ready()
        shutil.rmtree(data)
        deadline = time.monotonic() + PATIENCE_S
        while client.is_ready():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        labels = ["x", "x", "y", "y"]
        for attempt in (
            client.collections,
            lambda: client.delete_collection("c"),
            lambda: client.train_head("h", images=[jpeg(i) for i in range(4)], labels=labels),
        ):
            with pytest.raises(fc7.Unavailable):
                attempt()
        assert not data.exists()
        assert any("the data folder was deleted" in line for line in served.log)
        assert not any('"incident"' in line for line in served.log)


def test_who_lost_a_folder_leaves_its_successor_alone(tmp_path: Path) -> None:
    first = DataFolder(tmp_path / "data")
    assert first.is_still_ours
    shutil.rmtree(tmp_path / "data")
    assert not first.is_still_ours
    second = DataFolder(tmp_path / "data")
    second.announce(RunningServer(1, "unix:/none/s"))
    assert second.is_still_ours
    assert not first.is_still_ours
    first.release()
    assert read_running_server(tmp_path / "data") is not None
    second.release()
    assert read_running_server(tmp_path / "data") is None


def test_leftovers_that_cannot_be_removed_refuse_the_folder_and_free_its_lock(tmp_path: Path) -> None:
    (tmp_path / "holder.json" / "inner").mkdir(parents=True)
    with pytest.raises(fc7.FailedPrecondition, match="cannot be used"):
        DataFolder(tmp_path)
    shutil.rmtree(tmp_path / "holder.json")
    DataFolder(tmp_path).release()


def test_a_copy_of_a_folder_does_not_lead_to_its_holder(tmp_path: Path) -> None:
    holder = DataFolder(tmp_path / "data")
    holder.announce(RunningServer(1, "unix:/none/s"))
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    assert read_running_server(tmp_path / "data") is not None
    assert read_running_server(tmp_path / "copy") is None
    holder.release()
