"""Items that are changed, labelled and counted with values of ten megabytes, of mixed types, and on a full disk."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fc7.contract.filter_text import parse
from fc7.errors import InvalidArgument, ResourceExhausted
from fc7.v1 import collection_pb2 as pb
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.labels import Label, current
from fc7_service.collections.payload_updates import PayloadChange
from fc7_service.collections.registry import Collections
from fc7_service.collections.rows import Item
from fc7_service.rpc.facets import count_values
from fc7_service.rpc.item_pages import list_items
from fc7_service.rpc.label_records import add_labels, list_labels
from fc7_service.rpc.payload_updates import update_payloads

PROVENANCE = Provenance("m", "a" * 64, "b" * 64, "fc7")
VECTOR = np.arange(1, 5, dtype=np.float32)
LARGE = "x" * 10 * 2**20
MIXED = [1, "1", True, [1], {"a": 1}, None, 2.5]


@pytest.fixture
def photos(tmp_path):
    library = Collections(tmp_path / "collections")
    photos = library.create("photos", PROVENANCE, 4)
    photos.upsert([Item(str(i), "0" * 64, {"v": value}, VECTOR) for i, value in enumerate(MIXED)])
    yield photos
    library.close()


def test_ten_megabytes_are_refused_where_they_are(photos):
    updates = [
        pb.PayloadUpdate(id="0", change=pb.PayloadChange(set_json=json.dumps({"a": LARGE}))),
        pb.PayloadUpdate(id="1", change=pb.PayloadChange(remove=[LARGE])),
        pb.PayloadUpdate(id=LARGE, change=pb.PayloadChange(set_json='{"a": 1}')),
    ]
    large, passed_over, unknown = update_payloads(photos, pb.UpdatePayloadsRequest(updates=updates), None).results
    assert (large.error.code, large.error.reason) == ("INVALID_ARGUMENT", "INVALID_PAYLOAD")
    assert "the limit is 65536" in large.error.message
    assert (passed_over.changed, passed_over.error.code) == (False, "")
    assert unknown.error.reason == "ITEM_NOT_FOUND"
    assert len(unknown.error.message) <= 1024
    labels = [
        pb.Label(id="0", label=LARGE),
        pb.Label(id="0", label="a", by=LARGE),
        pb.Label(id="0", label="a", time=LARGE),
    ]
    for result in add_labels(photos, pb.AddLabelsRequest(labels=labels)).results:
        assert (result.error.code, result.error.reason) == ("INVALID_ARGUMENT", "INVALID_LABEL")
    assert not list_labels(photos, pb.ListLabelsRequest(label=LARGE, by=LARGE, ids=[LARGE])).labels
    for refused, reason in [
        (lambda: count_values(photos, pb.CountValuesRequest(fields=[LARGE]), None), "INVALID_FILTER"),
        (lambda: list_items(photos, pb.ListItemsRequest(order_by=LARGE), 5, None), "INVALID_FILTER"),
        (lambda: list_items(photos, pb.ListItemsRequest(page_token=LARGE), 5, None), "INVALID_PAGE_TOKEN"),
    ]:
        with pytest.raises(InvalidArgument) as caught:
            refused()
        assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("where", "ids"),
    [("v = 1", "0"), ('v = "1"', "1"), ("v = true", "2"), ("v contains 1", "3"), ("v.a = 1", "4"), ("v > 1", "6"),
     ("nothing = 1", ""), ("not nothing exists", "0123456"), ("not v exists", "5")],
)  # fmt: skip
def test_absent_fields_and_mixed_types_are_changed_as_filters_say(photos, where, ids):
    done, rest = photos.update_where(parse(where), PayloadChange({"seen": True}), 100)
    assert ("".join(one.id for one in done), rest) == (ids, None)
    assert photos.count_where(parse("seen = true")) == len(ids)
    assert photos.count_values(["seen"], 5)[1][0].n_items == len(ids)


def test_a_full_disk_during_an_update_changes_nothing(photos):
    writer = photos._store._writer.connection
    writer.execute(f"PRAGMA max_page_count={writer.execute('PRAGMA page_count').fetchone()[0]}")
    with pytest.raises(ResourceExhausted, match="the disk is full, and nothing of this call was stored") as caught:
        photos.update([(str(i), PayloadChange({"a": "x" * 60_000})) for i in range(len(MIXED))])
    assert caught.value.reason == "DISK_FULL"
    assert [item.payload for item in photos.page(0, 10)[0]] == [{"v": value} for value in MIXED]
    assert photos.search(VECTOR[None], 9, where=parse("a exists")) == [[]]
    writer.execute("PRAGMA max_page_count=1000000")
    assert photos.update([("0", PayloadChange({"a": 1}))])[0].is_changed


def test_a_clock_that_jumps_back_changes_no_order(photos):
    """S30: records follow one another by their numbers; their times only inform."""
    times = ["2026-05-01T12:00:00Z", "1999-01-01T00:00:00Z", "2030-01-01T00:00:00+14:00"]
    said = [("positive", times[0]), ("negative", times[1]), ("unsure", times[2]), ("negative", times[1])]
    assert photos.labels.add([Label("0", "cat", verdict, "ann", 0, when) for verdict, when in said]) == [True] * 4
    records = list(photos.labels.all())
    assert [record.label.verdict for record in records] == [verdict for verdict, _ in said]
    assert [record.label.time for record in records] == [when for _, when in said]
    assert current(records)["0"]["cat"].label.verdict == "negative"
    assert photos.labels.undo([("0", "", "")])[0].label.verdict == "negative"
