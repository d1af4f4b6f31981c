"""What is kept of an item that is added again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from test_collection import DIM, item

from fc7.errors import AlreadyExists, InvalidArgument
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.payload import LARGEST_PAYLOAD, merge
from fc7_service.collections.registry import Collections

PROVENANCE = Provenance("m", "a" * 64, "b" * 64, "fc7")


@pytest.fixture
def library(tmp_path):
    library = Collections(tmp_path / "collections")
    library.create("photos", PROVENANCE, DIM)
    yield library
    library.close()


def test_new_keys_win_and_other_keys_stay_also_after_a_restart(library, tmp_path):
    photos = library.get("photos")
    photos.upsert([item("a", label="rose", path="/x/a", n=1)])
    assert photos.upsert([item("a", path="/x/a")], is_merged=True) == ["skipped"]
    assert photos.upsert([item("a", n=2)], is_merged=True) == ["replaced"]
    assert photos.upsert([item("a", content="changed", path="/x/a")], is_merged=True) == ["replaced"]
    library.close()
    again = Collections(tmp_path / "collections")
    (stored,) = again.get("photos").get(["a"])
    again.close()
    assert stored.payload == {"label": "rose", "path": "/x/a", "n": 2}


def test_a_whole_payload_takes_the_place_of_the_stored_one(library):
    photos = library.get("photos")
    photos.upsert([item("a", label="rose", path="/x/a")])
    assert photos.upsert([item("a", path="/elsewhere/a", content="changed")]) == ["replaced"]
    assert photos.get(["a"])[0].payload == {"path": "/elsewhere/a"}


def test_writers_of_different_keys_lose_none(library):
    photos = library.get("photos")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: photos.upsert([item("a", **{f"k{n}": n})], is_merged=True), range(100)))
    assert photos.get(["a"])[0].payload == {f"k{n}": n for n in range(100)}


def test_what_is_refused_stands_in_its_place_and_erases_nothing(library):
    photos = library.get("photos")
    photos.upsert([item("a", path="/phone1/a", label="x"), item("b")])
    refused, replaced = photos.upsert(
        [item("a", content="other", path="/phone2/a"), item("b", content="other")], is_merged=True
    )
    assert isinstance(refused, AlreadyExists)
    assert "'/phone1/a'" in refused.message
    assert "--id-prefix" in refused.message
    assert "--replace" in refused.message
    assert replaced == "replaced"
    assert photos.get(["a"])[0].payload == {"path": "/phone1/a", "label": "x"}
    large, small = photos.upsert([item("a", text="x" * LARGEST_PAYLOAD), item("b", text="x" * 9)], is_merged=True)
    assert isinstance(large, InvalidArgument)
    assert small == "replaced"
    assert photos.get(["a"])[0].payload == {"path": "/phone1/a", "label": "x"}


@pytest.mark.parametrize(
    ("stored", "new", "is_same"),
    [
        ("/home/me/holiday/1.jpg", "/home/me/holiday/1.jpg", True),
        ("/home/me/holiday/1.jpg", "/home/me/x/../holiday/1.jpg", True),
        ("holiday/1.jpg", "/home/me/holiday/1.jpg", True),  # stored by version 0.1
        ("../holiday/1.jpg", "/home/me/holiday/1.jpg", True),
        ("./1.jpg", "/home/me/holiday/1.jpg", True),
        ("/home/me/holiday/1.jpg", "holiday/1.jpg", True),
        ("phone/1.jpg", "/home/me/holiday/1.jpg", False),
        ("day/1.jpg", "/home/me/holiday/1.jpg", False),  # by whole names
        ("/phone1/1.jpg", "/phone2/1.jpg", False),
        ("", "/phone2/1.jpg", False),
        (None, "/phone2/1.jpg", True),  # nothing says that they differ
        (7, "/phone2/1.jpg", True),
    ],
)
def test_which_paths_name_one_file(stored, new, is_same):
    arguments = ("a", {"path": stored}, {"path": new})
    assert merge(*arguments, has_same_content=True) == {"path": new}
    if is_same:
        assert merge(*arguments, has_same_content=False) == {"path": new}
    else:
        with pytest.raises(AlreadyExists):
            merge(*arguments, has_same_content=False)
