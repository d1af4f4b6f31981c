"""Labels in a COCO file: ``file_name`` is the id of an item, and a category of one of its annotations is a label.

References
----------
Lin et al. 2014, "Microsoft COCO: Common Objects in Context"; the file format is that of cocodataset.org, "Data format".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fc7._label_files.rows import Row, bad_row, no_labels, read_json, text_in
from fc7.results import Label


def write_coco(path: Path, collection: str, labels: Mapping[str, Sequence[str]]) -> None:
    """Write the labels of each item."""
    categories = {label: i for i, label in enumerate(sorted({one for of in labels.values() for one in of}), 1)}
    images = {own: i for i, own in enumerate(labels, 1)}
    pairs = [(images[own], categories[label]) for own, of_item in labels.items() for label in of_item]
    whole = {
        "info": {"description": f"Labels of the collection {collection}"},
        "images": [{"id": i, "file_name": own} for own, i in images.items()],
        "categories": [{"id": i, "name": label} for label, i in categories.items()],
        "annotations": [
            {"id": i, "image_id": image, "category_id": category} for i, (image, category) in enumerate(pairs, 1)
        ],
    }
    path.write_text(json.dumps(whole, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_coco(path: Path, data: bytes, by: str) -> Iterator[Row]:
    """Yield a label per image and category of it. Boxes and masks do not count.

    Raises
    ------
    InvalidArgument
        It is not JSON, or has no list of images, annotations or categories.
    """
    whole = read_json(path, data, is_list=False)
    for part in ("images", "annotations", "categories"):
        if not isinstance(whole.get(part), list):
            raise no_labels(path, f"it has no list {part!r}")
    images, categories = _by_id(whole["images"]), _by_id(whole["categories"])
    seen = set()
    for i, annotation in enumerate(whole["annotations"], 1):
        image_id, category_id = (_id_in(annotation, key) for key in ("image_id", "category_id"))
        found = images.get(image_id, [])
        own = text_in(found[0], ["file_name"]) if len(found) == 1 else ""
        label = text_in(categories.get(category_id, [None])[0], ["name"])
        if len(found) != 1:
            yield bad_row("", f"annotation {i} is about image {image_id!r}, of which there are {len(found)}")
        elif not own:
            yield bad_row("", f"annotation {i} is about image {image_id!r}, which has no file_name")
        elif not label or len(categories[category_id]) != 1:
            yield bad_row(own, f"annotation {i} has the category {category_id!r}, which has no name or several")
        elif (own, label) not in seen:  # one of several boxes
            seen.add((own, label))
            yield Label(own, label, "positive", by)


def _by_id(entries: Sequence[Any]) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = {}
    for entry in entries:
        if (own := _id_in(entry, "id")) is not None:
            found.setdefault(own, []).append(entry)
    return found


def _id_in(entry: Any, key: str) -> int | str | None:
    own = entry.get(key) if isinstance(entry, dict) else None
    return own if isinstance(own, int | str) else None
