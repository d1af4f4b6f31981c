"""Label records to files of other programs, and from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import get_args

from fc7._label_files.coco import read_coco, write_coco
from fc7._label_files.csv_rows import read_csv, write_csv
from fc7._label_files.folders import find_pictures, read_folders, write_folders
from fc7._label_files.label_studio import read_label_studio, write_label_studio
from fc7._label_files.rows import Row, read_file, refuse_contradictions
from fc7._operations.collection import get_items, list_items
from fc7._operations.labels import add, list_all
from fc7._operations.steps import Operation, RunBlocking, collect
from fc7.contract.held_labels import Recorded, held_labels
from fc7.errors import Fc7Error, InvalidArgument
from fc7.results import CollectionFacts, Item, Label, LabelFormat, Labelled, LabelsWritten

_READERS = {"csv": read_csv, "coco": read_coco, "label-studio": read_label_studio}


def import_labels(
    collection: CollectionFacts,
    path: Path | str,
    format: LabelFormat | None,
    by: str,
    report: Callable[[Labelled], object] | None,
) -> Operation[list[Labelled]]:
    """Record the labels of a file or of a folder tree."""
    path = Path(path)
    _check_format(format)
    if format == "folders" or (format is None and path.is_dir()):
        rows = yield from _import_folders(collection, path, by)
    else:
        rows = yield RunBlocking(partial(_read, path, format, by))
    return (yield from add(collection.name, rows, report))


def export_labels(
    collection: CollectionFacts, path: Path | str, format: LabelFormat | None, by: str
) -> Operation[LabelsWritten]:
    """Write label records to a file, or the labels that hold in a format that knows no records."""
    path = Path(path)
    to_write = _format_to_write(path, format)
    records: list[Label] = yield from collect(list_all(collection.name, None, "", by))
    if to_write == "csv":
        yield RunBlocking(partial(write_csv, path, records))
        return LabelsWritten(len(records), [])
    labels = _positive(records)
    n_labels = sum(map(len, labels.values()))
    if to_write == "coco":
        yield RunBlocking(partial(write_coco, path, collection.name, labels))
        return LabelsWritten(n_labels, [])
    items: list[Item | Fc7Error] = yield from get_items(collection, labels, False)
    if to_write == "label-studio":
        pictures = {own: _picture_of(own, item) for own, item in zip(labels, items, strict=True)}
        yield RunBlocking(partial(write_label_studio, path, labels, pictures))
        return LabelsWritten(n_labels, [])
    classes = {own: of_item[-1] for own, of_item in labels.items()}
    failed: list[Labelled] = yield RunBlocking(partial(write_folders, path, classes, items))
    return LabelsWritten(len(classes) - len(failed), failed)


def _import_folders(collection: CollectionFacts, folder: Path, by: str) -> Operation[list[Row]]:
    pictures: dict[Path, str] = yield RunBlocking(partial(find_pictures, folder))
    wanted, ids = set(pictures.values()), dict[str, list[str]]()
    items: list[Item] = yield from collect(
        list_items(collection, False, None, "", False), lambda item: item.content_sha256 in wanted
    )
    for item in items:
        ids.setdefault(item.content_sha256, []).append(item.id)
    return list(read_folders(folder, pictures, ids, collection.name, by))


def _read(path: Path, format: LabelFormat | None, by: str) -> list[Row]:
    if format is None and path.suffix.lower() not in (".csv", ".json"):
        raise _unknown_format(path)
    data = read_file(path)
    if format is None:
        format = "csv" if path.suffix.lower() == ".csv" else _format_of_json(data)  # noqa: A001
    return refuse_contradictions(_READERS[format](path, data, by))


def _format_of_json(data: bytes) -> LabelFormat:
    return "label-studio" if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[") else "coco"


def _positive(records: Iterable[Label]) -> dict[str, list[str]]:
    """Return the positive labels that hold, per item, in the order of their records."""
    held = held_labels(
        (Recorded(one.id, one.label, bool(one.head_version), one.outdated), one.verdict) for one in records
    )
    positive = {
        own: [label for label, verdict in of_item.items() if verdict == "positive"] for own, of_item in held.items()
    }
    return {own: of_item for own, of_item in positive.items() if of_item}


def _picture_of(own: str, item: Item | Fc7Error) -> str:
    """Return where the picture of an item is, or its id if that is not known."""
    known = [] if isinstance(item, Fc7Error) else [item.payload.get(key) for key in ("url", "path")]
    return next((one for one in known if isinstance(one, str)), own)


def _format_to_write(path: Path, format: LabelFormat | None) -> LabelFormat:
    _check_format(format)
    if format is None and path.suffix.lower() != ".csv":
        raise _unknown_format(path)
    return format or "csv"


def _check_format(format: str | None) -> None:
    if format is not None and format not in get_args(LabelFormat):
        raise InvalidArgument(
            f"format must be one of {', '.join(get_args(LabelFormat))} (got {format!r})", name="format"
        )


def _unknown_format(path: Path) -> InvalidArgument:
    return InvalidArgument(
        f"the format of {str(path)!r} is not known from its name. Give one with --format, or format=: "
        f"{', '.join(get_args(LabelFormat))}",
        name="format",
    )
