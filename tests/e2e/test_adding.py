"""Adding again: what stays, what is replaced, what is refused; the command and Python over one data folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import fc7
from fc7.cli import main
from servers import jpeg, write_jpegs


@dataclass
class Here:
    """A client that holds a data folder, the command that attaches to it, and a folder to work in."""

    client: fc7.Client
    data: Path
    folder: Path

    def run(self, *words: object, code: int = 0) -> Result:
        result = CliRunner().invoke(main, [*map(str, words), "--data", str(self.data)])
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    def add(self, *words: object, code: int = 0) -> dict[str, Any]:
        """Run `fc7 add c ... --json`; return its last line."""
        last: dict[str, Any] = json.loads(self.run("add", "c", *words, "--json", code=code).stdout.splitlines()[-1])
        return last

    def payloads(self) -> dict[str, dict[str, Any]]:
        return {item.id: item.payload for item in self.client.collection("c").items()}


@pytest.fixture(scope="module")
def shared(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[fc7.Client, Path]]:
    data = tmp_path_factory.mktemp("data")
    with fc7.connect(data=data, models=[str(tiny_bundle)]) as client:
        yield client, data


@pytest.fixture
def here(shared: tuple[fc7.Client, Path], tmp_path: Path) -> Iterator[Here]:
    client, data = shared
    yield Here(client, data, tmp_path)
    for collection in client.collections():
        client.delete_collection(collection.name)


def counts(added: int = 0, replaced: int = 0, skipped: int = 0, failed: int = 0) -> dict[str, int]:
    return {"added": added, "replaced": replaced, "skipped": skipped, "failed": failed}


def taken(last: dict[str, Any]) -> dict[str, int]:
    return {status: last[status] for status in counts()}


def test_labels_and_own_keys_survive_adding_again(here: Here) -> None:
    write_jpegs(here.folder / "p", ["rose/1.jpg", "tulip/1.jpg"])
    assert taken(here.add(here.folder / "p", "--label-from-folder")) == counts(added=2)
    collection = here.client.collection("c")
    collection.add(here.folder / "p/rose/1.jpg", root=here.folder / "p", payloads=[{"note": "mine"}])
    before = here.payloads()
    assert before["rose/1.jpg"] == {"path": f"{here.folder}/p/rose/1.jpg", "label": "rose", "note": "mine"}
    assert taken(here.add(here.folder / "p")) == counts(skipped=2)
    assert here.payloads() == before
    (here.folder / "p/rose/1.jpg").write_bytes(jpeg(99))
    assert taken(here.add(here.folder / "p")) == counts(replaced=1, skipped=1)
    assert here.payloads() == before
    features = here.client.extract(jpeg(99), layer=collection.provenance.layer)
    collection.add_vectors(features, ["rose/1.jpg"])
    assert here.payloads() == before


def test_replace_removes_keys(here: Here) -> None:
    write_jpegs(here.folder / "p", ["rose/1.jpg"])
    here.add(here.folder / "p", "--label-from-folder")
    assert taken(here.add(here.folder / "p", "--replace")) == counts(replaced=1)
    assert here.payloads() == {"rose/1.jpg": {"path": f"{here.folder}/p/rose/1.jpg"}}
    here.client.collection("c").add(jpeg(1), ids=["rose/1.jpg"], payloads=[{"n": 1}], replace=True)
    assert here.payloads() == {"rose/1.jpg": {"n": 1}}


def test_an_id_from_another_path_is_refused_with_a_hint(here: Here) -> None:
    write_jpegs(here.folder, ["phone1/IMG_0001.jpg", "phone2/IMG_0001.jpg", "phone2/IMG_0002.jpg"])
    here.add(here.folder / "phone1")
    before = here.payloads()
    done = here.run("add", "c", here.folder / "phone2", code=1)
    assert done.stdout == "c: 1 added, 1 failed\n"
    assert "phone1/IMG_0001.jpg" in done.stderr
    assert "--id-prefix" in done.stderr
    assert "--replace" in done.stderr
    assert here.payloads()["IMG_0001.jpg"] == before["IMG_0001.jpg"]
    (added,) = here.client.collection("c").add([here.folder / "phone2/IMG_0001.jpg"])
    assert isinstance(added.error, fc7.AlreadyExists)
    assert added.error.reason == "ID_FROM_OTHER_PATH"
    assert taken(here.add(here.folder / "phone2", "--id-prefix", "phone2/")) == counts(added=2)
    assert taken(here.add(here.folder / "phone2", "--replace")) == counts(replaced=1, skipped=1)
    assert here.payloads()["IMG_0001.jpg"] == {"path": f"{here.folder}/phone2/IMG_0001.jpg"}


def test_one_file_by_other_spellings_of_its_path(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    write_jpegs(here.folder, ["p/1.jpg"])
    monkeypatch.chdir(here.folder)
    here.add("p")
    stored = {"1.jpg": {"path": f"{here.folder}/p/1.jpg"}}
    for seed, spelling in enumerate(("p", here.folder / "p", "./p/", "../" + here.folder.name + "/p")):
        assert taken(here.add(spelling)) == counts(skipped=1)
        Path("p/1.jpg").write_bytes(jpeg(seed))
        assert taken(here.add(spelling)) == counts(replaced=1)
        assert here.payloads() == stored
    collection = here.client.collection("c")
    assert [a.status for a in collection.add(Path("p/1.jpg"))] == ["skipped"]
    assert [a.status for a in collection.add("p/../p/1.jpg")] == ["skipped"]


def test_a_relative_path_that_version_0_1_stored_is_the_same_file(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    write_jpegs(here.folder, ["p/1.jpg"])
    monkeypatch.chdir(here.folder)
    collection = here.client.create_collection("c")
    collection.add("p/1.jpg", payloads=[{"path": "p/1.jpg"}])
    Path("p/1.jpg").write_bytes(jpeg(5))
    assert [a.status for a in collection.add("p/1.jpg")] == ["replaced"]
    assert here.payloads() == {"1.jpg": {"path": f"{here.folder}/p/1.jpg"}}
