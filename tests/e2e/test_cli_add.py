"""Adding again: what stays, what is replaced, what is refused; the command and Python over one data folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import fc7
from denied import refuse_folder
from fc7.cli import main
from fc7.images import ImageContent
from servers import jpeg
from site_of_pictures import Site, running


@dataclass
class Here:
    """A client that holds a data folder, the command that attaches to it, and a folder to work in."""

    client: fc7.Client
    data: Path
    folder: Path

    def run(self, *words: object, code: int = 0, given: bytes = b"") -> Result:
        result = CliRunner().invoke(main, [*map(str, words), "--data", str(self.data)], input=given)
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


def write_jpegs(folder: Path, names: list[str]) -> None:
    """Write a picture per name, each another."""
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg(1000 + seed))


@pytest.fixture
def site() -> Iterator[Site]:
    with running() as site:
        yield site


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


def test_a_label_is_added_without_sending_the_bytes_again(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    write_jpegs(here.folder / "p", ["rose/1.jpg", "tulip/1.jpg"])
    here.add(here.folder / "p")
    monkeypatch.setattr(ImageContent, "write", lambda content, message: None)  # no image is ever put into a message
    assert taken(here.add(here.folder / "p", "--label-from-folder")) == counts(replaced=2)
    assert {payload["label"] for payload in here.payloads().values()} == {"rose", "tulip"}


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


def test_a_damaged_picture_of_a_class_of_two_is_named(here: Here) -> None:
    write_jpegs(here.folder / "p", ["a/1.jpg", "a/2.jpg", "b/1.jpg"])
    (here.folder / "p/b/2.jpg").write_bytes(jpeg(1)[:300])
    said = here.run("head", "train", "two", here.folder / "p", code=2).stderr
    assert "(1 of 2 classes)" in said
    assert f"{here.folder}/p/b/2.jpg: " in said


def test_labels_of_text_and_numbers_are_one_class(here: Here) -> None:
    write_jpegs(here.folder, [f"{i}.jpg" for i in range(9)])
    collection = here.client.create_collection("c")
    labels: list[Any] = ["0", 0, "0", "1", 1, "1", 2, 2, 2]
    collection.add(sorted(here.folder.glob("*.jpg")), payloads=[{"label": label} for label in labels])
    assert here.client.train_head("numbers", collection="c").classes == ["0", "1", "2"]
    collection.add(here.folder / "8.jpg", payloads=[{"label": 2.5}])
    assert "item '8.jpg' has the label 2.5" in here.run("head", "train", "n", "--collection", "c", code=2).stderr


def test_what_is_passed_over_is_the_last_line(here: Here) -> None:
    write_jpegs(here.folder / "p", ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg", "b/@eaDir/3.jpg", "c/.4.jpg"])
    for name in ("c/5.JXL", "c/6.jxl", "notes.txt"):
        (here.folder / "p" / name).write_bytes(b"x")
    said = "passed over: 2 JPEG XL (not read: convert them to JPEG or PNG), 1 in @eaDir, 1 hidden, 1 other file (.txt)"
    counted = {"JPEG XL": 2, "@eaDir": 1, "hidden": 1, "other": 1}
    for words in (
        ("add", "c", here.folder / "p"),
        ("extract", here.folder / "p", "--output", here.folder / "f.npz"),
        ("head", "train", "h", here.folder / "p"),
        ("classify", here.folder / "p"),
    ):
        assert here.run(*words).stderr.splitlines()[-1] == said
        printed = here.run(*words, "--json")
        last = json.loads(printed.stdout.splitlines()[-1])
        assert last.get("passed_over") == counted or printed.stderr.splitlines()[-1] == said
    assert here.run("add", "c", here.folder / "p/a").stderr == ""


def test_an_unreadable_folder_ends_with_1_and_the_others_are_added(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    write_jpegs(here.folder / "p", ["a/1.jpg", "b/1.jpg"])
    refuse_folder(monkeypatch, here.folder / "p" / "b")
    done = here.run("add", "c", here.folder / "p", code=1)
    assert done.stdout == "c: 1 added\n"
    assert f"{here.folder}/p/b: the folder cannot be read: Permission denied" in done.stderr
    assert done.stderr.splitlines()[-1] == "passed over: 1 unreadable folder"
    assert taken(here.add(here.folder / "p", "--exclude", "b")) == counts(skipped=1)
    assert "--exclude" in here.run("head", "train", "h", "--collection", "c", "--exclude", "b", code=2).stderr


def test_a_data_set_trains_on_its_training_part(here: Here) -> None:
    write_jpegs(
        here.folder / "p", [f"{part}/{kind}/{i}.jpg" for part in ("train", "val") for kind in "ab" for i in "12"]
    )
    done = here.run("head", "train", "h", here.folder / "p")
    assert here.client.head("h").classes == ["a", "b"]
    assert here.client.head("h").count == 4
    assert "classes are the folders in train/; val/ left out" in done.stderr
    assert done.stderr.splitlines()[-1] == "passed over: 4 in val"
    here.add(here.folder / "p", "--label-from-folder")
    assert {payload["label"] for payload in here.payloads().values()} == {"a", "b"}


def test_a_picture_from_standard_input(here: Here) -> None:
    write_jpegs(here.folder / "p", ["1.jpg", "2.jpg", "3.jpg"])
    here.add(here.folder / "p")
    picture = (here.folder / "p/2.jpg").read_bytes()
    (hit,) = here.run(
        "search", "c", "-", "-k", 1, "--json", "--sheet", here.folder / "s.png", given=picture
    ).stdout.splitlines()
    assert json.loads(hit)["id"] == "2.jpg"
    assert (here.folder / "s.png").is_file()
    here.run("extract", "-", here.folder / "p/2.jpg", "--output", here.folder / "f.npz", given=picture)
    with np.load(here.folder / "f.npz") as stored:
        assert stored["ids"].tolist() == ["-", "2.jpg"]
        assert np.array_equal(*stored["features"])
    assert json.loads(here.run("classify", "-", "--json", given=picture).stdout)["path"] == "-"
    assert here.run("add", "c", "-", "--id", "mine", given=picture).stdout == "c: 1 added\n"
    assert here.payloads()["mine"] == {}


def test_what_standard_input_cannot_be(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.client.create_collection("c")
    assert "standard input is empty" in here.run("classify", "-", code=2).stderr
    assert "--id ID" in here.run("add", "c", "-", code=2, given=jpeg(1)).stderr
    assert "give - only once" in here.run("classify", "-", "-", code=2, given=jpeg(1)).stderr
    write_jpegs(here.folder / "p", ["1.jpg"])
    assert "--id is for one image" in here.run("add", "c", here.folder / "p", "--id", "x", code=2).stderr
    monkeypatch.setattr("fc7.images.MAX_IMAGE_BYTES", 100)
    assert "more than 100 bytes" in here.run("classify", "-", code=2, given=jpeg(1)).stderr
    here.run("classify", "-", code=1, given=b"no picture")


def test_a_picture_by_its_url(here: Here, site: Site) -> None:
    write_jpegs(here.folder / "p", ["1.jpg", "2.jpg"])
    here.add(here.folder / "p")
    site.picture = (here.folder / "p/2.jpg").read_bytes()
    url = f"{site.url}/picture.jpg"
    assert json.loads(here.run("search", "c", url, "-k", 1, "--json").stdout)["id"] == "2.jpg"
    assert [a.id for a in here.client.collection("c").add(url)] == [url]
    assert here.payloads()[url] == {"url": url}
    assert taken(here.add(url)) == counts(skipped=1)
    assert taken(here.add(url, "--id", "named")) == counts(added=1)
    by_url, by_path = here.client.extract([url, here.folder / "p/2.jpg"]).values
    assert np.array_equal(by_url, by_path)
    failed = here.run("classify", url, f"{site.url}/gone.jpg", "--json", code=1)
    assert [json.loads(line)["path"] for line in failed.stdout.splitlines()] == [url, f"{site.url}/gone.jpg"]
    assert "/gone.jpg: " in failed.stderr
    assert failed.stderr.count("/gone.jpg") == 1
    assert "does not exist: its server answers 404" in failed.stderr


def test_a_new_collection_says_its_layer_and_which_one_is_recommended(tiny_bundle: Path, tmp_path: Path) -> None:
    """Nothing is said of a collection that exists, and nothing of another layer if the model recommends none."""
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "tiny"))
    manifest = json.loads((bundle / "manifest.json").read_text())
    picture = tmp_path / "a.jpg"
    picture.write_bytes(jpeg(0))

    with fc7.connect(data=tmp_path / "data", models=[str(bundle)]) as client:
        plain = Here(client, tmp_path / "data", tmp_path)
        assert "fc7: plain: created with the layer fc7 of tiny\n" in plain.run("add", "plain", picture).stderr
        assert "recommended" not in plain.run("model", "show", "tiny").stdout
    (bundle / "manifest.json").write_text(json.dumps(manifest | {"recommended": {"views": "pool5", "later": "fc6"}}))
    with fc7.connect(data=tmp_path / "data", models=[str(bundle)]) as client:
        here = Here(client, tmp_path / "data", tmp_path)
        said = here.run("add", "c", picture).stderr
        assert (
            "c: created with the layer fc7 of tiny. To find altered copies of a picture, pool5 is recommended" in said
        )
        assert "created" not in here.run("add", "c", picture).stderr
        shown = here.run("model", "show", "tiny").stdout
        assert "recommended to find altered copies of a picture: pool5\n" in shown
        assert "recommended for later: fc6\n" in shown
        listed = json.loads(here.run("model", "list", "--json").stdout)
        assert listed["recommended_layers"] == {"views": "pool5", "later": "fc6"}
