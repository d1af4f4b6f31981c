"""Labels as folders: each picture lies in the folder of its label, and stands for the items with the same bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath

from fc7._label_files.rows import Row, bad_row, failed
from fc7.contract.formats import READ, suffix_of
from fc7.contract.image_digest import image_digest
from fc7.errors import FailedPrecondition, Fc7Error, InvalidArgument, NotFound, Reason
from fc7.results import Item, Label, Labelled

_RESERVED = set('/\\:*?"<>|')  # in names of files, on one system or another


def find_pictures(folder: Path) -> dict[Path, str]:
    """Return the digest (hex) of each picture below the folders of ``folder``; hidden ones do not count.

    The digest of a picture that cannot be read is "".

    Raises
    ------
    NotFound
        There is no such folder.
    InvalidArgument
        It has no folder with pictures.
    """
    if not folder.is_dir():
        raise NotFound(f"folder {str(folder)!r} does not exist", name=str(folder), reason=Reason.FILE_NOT_FOUND)
    found = {}
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if Path(parent) != folder:
            for name in sorted(files):
                if suffix_of(name) in READ and not name.startswith("."):
                    found[Path(parent) / name] = _digest(Path(parent) / name)
    if not found:
        raise InvalidArgument(
            f"folder {str(folder)!r} has no folders with pictures. Put the pictures of each label into a folder of its "
            "name",
            name=str(folder),
        )
    return found


def read_folders(
    folder: Path, pictures: Mapping[Path, str], ids: Mapping[str, Sequence[str]], collection: str, by: str
) -> Iterator[Row]:
    """Yield a label per item with the bytes of a picture. ``ids`` are those of each digest."""
    labels: dict[str, dict[str, None]] = {}  # the folders of each digest
    for path, digest in pictures.items():
        labels.setdefault(digest, {})[path.relative_to(folder).parts[0]] = None
    for path, digest in pictures.items():
        name = path.relative_to(folder).as_posix()
        found = ids.get(digest, ())
        if not digest:
            yield bad_row(name, f"{name!r} cannot be read")
        elif len(labels[digest]) > 1:
            where = " and ".join(map(repr, labels[digest]))
            yield bad_row(name, f"the same picture is in the folders {where}. Keep it in one of them")
        elif not found:
            text = f"collection {collection!r} has no item with the bytes of {name!r}. Add the picture first"
            yield failed(name, NotFound(text, name=name, reason=Reason.ITEM_NOT_FOUND))
        else:
            yield from (Label(own, path.relative_to(folder).parts[0], "positive", by) for own in found)


def write_folders(folder: Path, labels: Mapping[str, str], items: Sequence[Item | Fc7Error]) -> list[Labelled]:
    """Copy the picture of each item into the folder of its label; return those that cannot be copied.

    Raises
    ------
    FailedPrecondition
        The folder is not empty, or cannot be made.
    """
    try:
        folder.mkdir(exist_ok=True)
        if any(folder.iterdir()):
            raise FailedPrecondition(f"folder {str(folder)!r} is not empty. Name a new folder", name=str(folder))
    except OSError as error:
        raise FailedPrecondition(
            f"folder {str(folder)!r} cannot be made: {error.strerror}", name=str(folder)
        ) from error
    outcomes = []
    for (own, label), item in zip(labels.items(), items, strict=True):
        try:
            if isinstance(item, Fc7Error):
                raise item
            _copy(folder, label, item)
        except Fc7Error as error:
            outcomes.append(failed(own, error))
    return outcomes


def _digest(path: Path) -> str:
    try:
        return image_digest(path.read_bytes()).hex()
    except OSError:
        return ""


def _copy(folder: Path, label: str, item: Item) -> None:
    """Copy a picture, if it still has the bytes that were added."""
    if _RESERVED & set(label) or label.startswith(".") or label != label.strip(" ."):
        raise InvalidArgument(f"the label {label!r} cannot be the name of a folder", name=label)
    path = item.payload.get("path")
    if not isinstance(path, str):
        raise NotFound("its payload has no path, so that its picture cannot be copied", name=item.id)
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise NotFound(f"its picture {path!r} cannot be read", name=path, reason=Reason.FILE_NOT_FOUND) from error
    if image_digest(data).hex() != item.content_sha256:
        raise NotFound(f"its picture {path!r} has changed since it was added", name=path)
    try:
        (folder / label).mkdir(exist_ok=True)
        _free_name(folder / label, PurePath(path).name).write_bytes(data)
    except OSError as error:
        raise FailedPrecondition(f"its picture cannot be written: {error.strerror}", name=path) from error


def _free_name(folder: Path, name: str) -> Path:
    n, free = 1, folder / name
    while free.exists():
        n += 1
        free = folder / f"{PurePath(name).stem}-{n}{PurePath(name).suffix}"
    return free
