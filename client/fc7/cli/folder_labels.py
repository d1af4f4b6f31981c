"""The classes that folders name."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from fc7.cli.folder_scan import FolderScan
from fc7.cli.image_arguments import FoundImage, as_text, find_images
from fc7.cli.output import print_note
from fc7.errors import InvalidArgument

# Names of the parts of a data set. A folder named so is no class where there are two of them, or no other folder.
TRAINING, HELD_OUT = frozenset({"train", "training"}), frozenset({"val", "valid", "validation", "test", "testing"})


def folder_labels(images: Sequence[FoundImage]) -> list[str | None]:
    """Return the class of each image: the first folder below its PATH, or below the train/ and val/ of its PATH.

    None for an image that lies in no such folder.

    Raises
    ------
    InvalidArgument
        A PATH holds train/ and val/ beside other folders.
    """
    of_root: defaultdict[Path | None, list[FoundImage]] = defaultdict(list)
    for image in images:
        of_root[image.root].append(image)
    depths = {root: int(root is not None and _is_split(root, some)) for root, some in of_root.items()}
    parts = [(image.id.split("/"), depths[image.root]) for image in images]
    return [names[depth] if len(names) > depth + 1 else None for names, depth in parts]


def labelled_images(
    folder: Path, scan: FolderScan, parts: frozenset[str] = TRAINING
) -> tuple[list[FoundImage], list[str]]:
    """Return the images of a folder with one sub-folder per class, and the class of each.

    Of a folder that holds train/ and val/, ``parts`` is taken, and that is said. A sub-folder without an image that fc7
    reads is said too.

    Raises
    ------
    InvalidArgument
        Not such a folder, or images in no sub-folder.
    """
    if folder.is_file():
        raise InvalidArgument(
            f"{as_text(folder)!r} is not a folder: give one with a sub-folder per class", name=str(folder)
        )
    found = find_images([folder], scan)
    is_split = _is_split(folder, found)
    pairs = list(zip(found, folder_labels(found), strict=True))
    if is_split:
        _leave_out(folder, found, scan, parts)
        pairs = [(image, label) for image, label in pairs if _is_of(image, parts)]
    bare = [image for image, label in pairs if label is None]
    if bare:
        raise InvalidArgument(
            f"{len(bare)} images lie in no sub-folder of {as_text(bare[0].path.parent)!r}, the first is "
            f"{bare[0].id!r}: the sub-folder names the class",
            name=bare[0].id,
        )
    _say_empty_classes(folder, [image for image, _ in pairs], parts if is_split else None, scan)
    return [image for image, _ in pairs], [str(label) for _, label in pairs]


def _is_split(root: Path, images: Sequence[FoundImage]) -> bool:
    """Return whether the first folders below a PATH are the parts of a data set, such as train/ and val/."""
    parts = [image.id.split("/") for image in images]
    names = {part[0] for part in parts if len(part) > 1}
    known = {name for name in names if name.casefold() in TRAINING | HELD_OUT}
    if len(known) < 2:
        return bool(known) and names == known and all(len(part) > 2 for part in parts)
    if names != known:
        raise InvalidArgument(
            f"folder {as_text(root)!r} holds {_listed(known)}, which are parts of a data set, beside "
            f"{_listed(names - known)}: give the folder of one part, or leave folders out with --exclude",
            name=str(root),
        )
    return True


def _is_of(image: FoundImage, parts: frozenset[str]) -> bool:
    return str(image.folder).casefold() in parts


def _leave_out(folder: Path, images: Sequence[FoundImage], scan: FolderScan, parts: frozenset[str]) -> None:
    """Count and name the parts of a data set that are not taken."""
    taken = {str(image.folder) for image in images if _is_of(image, parts)}
    others = Counter(str(image.folder) for image in images if not _is_of(image, parts))
    if not taken:
        raise InvalidArgument(
            f"folder {as_text(folder)!r} holds {_listed(others)}, which are parts of a data set, and no "
            f"{_listed(parts, 'or')}: give a folder with a sub-folder per class",
            name=str(folder),
        )
    for name, n in others.items():
        scan.pass_over(name, n)
    left_out = f"; {_listed(others)} left out" if others else ""
    print_note(as_text(folder), f"classes are the folders in {_listed(taken)}{left_out}")


def _say_empty_classes(
    folder: Path, images: Sequence[FoundImage], parts: frozenset[str] | None, scan: FolderScan
) -> None:
    """Name the folders, below ``parts`` where there are parts, that should be classes but hold no image fc7 reads."""
    depth = 1 if parts is None else 2
    classes = {tuple(image.path.relative_to(folder).parts[:depth]) for image in images}
    for path, reasons in sorted(scan.folders.items()):
        is_part = parts is None or path.parts[0].casefold() in parts
        if len(path.parts) == depth and is_part and path.parts not in classes:
            held = ", ".join(f"{n} {reason}" for reason, n in reasons.items()) or "nothing"
            print_note(as_text(folder / path), f"this folder is no class, as fc7 reads no image in it: it holds {held}")


def _listed(names: Collection[str], word: str = "and") -> str:
    return f" {word} ".join(f"{name}/" for name in sorted(names))
