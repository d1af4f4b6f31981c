"""What was made with an earlier version of a recipe stays usable, with its own provenance."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fc7
from fc7.errors import FailedPrecondition, NotFound
from fc7_service.bundle.bundle import find_maker
from fc7_service.bundle.folder import open_model
from servers import jpeg, serving
from tiny import make_tiny_bundle

# Default layers of the shipped bundles in release 0.1: collections and heads of users are bound to them.
OLD_DIGESTS = {
    "alexnet-64": "741c8993a69c85e64055d384505bcbc7d399086636324398226d43548119c5d2",
    "alexnet-64.int8": "dd887ec8e88981444d93a537bcab29f237b38ee0d4b9e173121ffbef5653e6f3",
    "zfnet-64": "63b0a1557d3a29e244f9b1db51bc178ef248c2aaa674bc75685ef182d99d1a19",
}


def logo(seed: int) -> bytes:
    """A transparent picture: what it shows depends on the version."""
    rng = np.random.default_rng(seed)
    pixels = np.asarray(Image.fromarray(rng.integers(0, 256, (4, 4, 4), dtype=np.uint8)).resize((32, 32)))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = [logo(seed) if seed % 2 else jpeg(seed) for seed in range(12)]
IDS = [str(i) for i in range(len(PICTURES))]


def in_version_1(bundle: Path) -> Path:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["recipe"]["version"] = 1
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return bundle


@contextmanager
def served(kind: str, data: Path, bundle: Path) -> Iterator[fc7.Client]:
    if kind == "embedded":
        with fc7.connect(data=data, models=[str(bundle)]) as client:
            yield client
    else:
        with serving(data, "--model", str(bundle)) as server, fc7.connect(server.address) as client:
            yield client


@pytest.fixture
def old(tmp_path: Path, tiny_bundle: Path) -> fc7.Provenance:
    """Make a collection and a head with version 1; return their provenance."""
    first = in_version_1(Path(shutil.copytree(tiny_bundle, tmp_path / "old" / "tiny")))
    with fc7.connect(data=tmp_path / "data", models=[str(first)]) as client:
        client.create_collection("logos").add(PICTURES, ids=IDS, payloads=[{"label": "ab"[int(i) % 2]} for i in IDS])
        client.train_head("half", images=PICTURES * 2, labels=["ab"[i % 2] for i in range(12)] * 2)
        client.publish_head("half")
        np.save(tmp_path / "features.npy", client.extract(PICTURES).values)
        np.save(tmp_path / "classes.npy", [one.top[0][1] for one in client.classify(PICTURES, head="half")])
        return client.collection("logos").provenance


@pytest.mark.parametrize("kind", ["embedded", "remote"])
def test_a_collection_and_a_head_of_version_1_stay_as_they_were(
    kind: str, old: fc7.Provenance, tiny_bundle: Path, tmp_path: Path
) -> None:
    with served(kind, tmp_path / "data", tiny_bundle) as client:
        before = np.load(tmp_path / "features.npy")
        now, same = client.extract(PICTURES), client.extract(PICTURES, model="tiny@1")
        assert same.provenance.digest == old.digest != now.provenance.digest
        np.testing.assert_array_equal(same.values, before)
        assert (now.values != before).any(axis=1)[1::2].all()  # the transparent ones
        np.testing.assert_array_equal(now.values[::2], before[::2])

        logos = client.collection("logos")
        for i, hits in enumerate(logos.search_many(PICTURES, k=1)):
            assert not isinstance(hits, fc7.Fc7Error)
            assert hits[0].id == IDS[i]
            assert hits[0].score > 0.9999
        assert logos.search(features=same[1:2], k=1)[0].id == "1"
        with pytest.raises(FailedPrecondition, match=old.digest[:12]):
            logos.search(features=now[1:2], k=1)
        assert logos.add([logo(99)], ids=["new"])[0].status == "added"
        assert logos.search(id="new", k=13)
        np.testing.assert_array_equal(
            logos.get(["new"], with_features=True)[0].feature,  # type: ignore[union-attr]
            client.extract(logo(99), model="tiny@1").values[0].astype(np.float16),
        )
        assert logos.provenance == old

        found = client.classify(PICTURES, head="half")
        np.testing.assert_array_equal([one.top[0][1] for one in found], np.load(tmp_path / "classes.npy"))
        client.train_head("again", collection="logos")
        assert client.head("again", version=1).provenance == old
        client.publish_head("again")
        assert client.classify(logo(1), head="again")[0].label


def test_another_network_is_refused_as_before(old: fc7.Provenance, tmp_path: Path) -> None:
    other = make_tiny_bundle(tmp_path / "other", seed=1)
    with fc7.connect(data=tmp_path / "data", models=[str(other.path)]) as client:
        for attempt in (
            lambda: client.collection("logos").search(PICTURES[0]),
            lambda: client.classify(PICTURES[0], head="half"),
        ):
            with pytest.raises(FailedPrecondition, match=old.digest[:12]):
                attempt()


def test_versions_have_names(tiny_bundle: Path, tmp_path: Path) -> None:
    with fc7.connect(data=tmp_path / "data", models=[str(tiny_bundle)]) as client:
        assert client.model("tiny").recipe["version"] == 2
        one = client.model("tiny@1")
        assert (one.name, one.recipe["version"]) == ("tiny@1", 1)
        assert [model.name for model in client.models()] == ["tiny"]
        made = client.create_collection("c", model="tiny@1")
        assert made.provenance.digest == next(layer.provenance_digest for layer in one.layers if layer.name == "fc7")
        for name in ("tiny@0", "tiny@3", "tiny@", "tiny@x", "other@1"):
            with pytest.raises(NotFound, match="tiny"):
                client.extract(jpeg(0), model=name)


@pytest.mark.parametrize("name", OLD_DIGESTS)
def test_the_shipped_bundles_know_their_provenance_of_release_0_1(name: str) -> None:
    bundle = open_model(name)
    assert {bundle.recipe_of(layer).version for layer in bundle.layers} == {2}
    old = bundle.with_recipe_version(1).provenance("")
    assert old.digest == OLD_DIGESTS[name]
    maker = find_maker({name: bundle}, old)
    assert maker is not None
    assert maker.name == f"{name}@1"
    current = find_maker({name: bundle}, bundle.provenance(""))
    assert current is bundle
