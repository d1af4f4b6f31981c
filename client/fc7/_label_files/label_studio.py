"""Labels in a JSON file of Label Studio: tasks with choices.

References
----------
labelstud.io, "Label Studio JSON format of annotated tasks".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from fc7._label_files.rows import Row, bad_row, read_json, text_in
from fc7.results import Label

_UPLOADED = re.compile(r"/data/upload/\d+/(?:[0-9a-f]{8}-)?(.+)")  # Label Studio puts digits before the names


def write_label_studio(path: Path, labels: Mapping[str, Sequence[str]], pictures: Mapping[str, str]) -> None:
    """Write a task per item. ``pictures`` says where the picture of each is."""
    tasks = [
        {
            "id": i,
            "data": {"image": pictures[own], "id": own},
            "annotations": [{"result": [_choices(of_item)]}],
        }
        for i, (own, of_item) in enumerate(labels.items(), 1)
    ]
    path.write_text(json.dumps(tasks, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_label_studio(path: Path, data: bytes, by: str) -> Iterator[Row]:
    """Yield a label per choice. Who made it counts before ``by``. Skipped tasks do not count.

    Raises
    ------
    InvalidArgument
        It is not a JSON list.
    """
    for i, task in enumerate(read_json(path, data, is_list=True), 1):
        own = text_in(task, ["data", "id"]) or _id_of(text_in(task, ["data", "image"]))
        annotations = task.get("annotations", []) if isinstance(task, dict) else None
        if not own:
            yield bad_row("", f"task {i} has neither data.id nor data.image, so that its item is not known")
        elif not isinstance(annotations, list):
            yield bad_row(own, f"the annotations of task {i} are not a list")
        else:
            for annotation in annotations:
                yield from _labels(own, annotation, i, by)


def _labels(own: str, annotation: Any, i: int, by: str) -> Iterator[Row]:
    if not isinstance(annotation, dict) or not isinstance(annotation.get("result"), list):
        yield bad_row(own, f"an annotation of task {i} has no list of results")
        return
    if annotation.get("was_cancelled"):
        return
    author, when = text_in(annotation, ["completed_by", "email"]) or by, text_in(annotation, ["created_at"])
    for result in annotation["result"]:
        choices = result["value"].get("choices") if isinstance(result, dict) and _has_value(result) else None
        if not isinstance(result, dict) or result.get("type") != "choices":
            continue  # a box, a text, a rating
        if not isinstance(choices, list) or not all(isinstance(one, str) for one in choices):
            yield bad_row(own, f"the choices of task {i} are not a list of texts")
            continue
        for choice in choices:
            yield Label(own, choice, "positive", author, 0, when)


def _has_value(result: dict[str, Any]) -> bool:
    return isinstance(result.get("value"), dict)


def _choices(labels: Sequence[str]) -> dict[str, Any]:
    return {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": list(labels)}}


def _id_of(image: str) -> str:
    """Return the id that the address of a picture stands for: the path of a local file, or the address itself."""
    try:
        address = urlsplit(image)
    except ValueError:  # such as http://[
        return image
    if address.path.startswith("/data/local-files") and (local := parse_qs(address.query).get("d")):
        return local[0]
    uploaded = _UPLOADED.fullmatch(unquote(address.path))
    return uploaded[1] if uploaded else image
