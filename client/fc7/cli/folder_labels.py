"""Labels from folder names: each folder of pictures is one class."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from fc7.cli.folder_scan import FolderScan
from fc7.cli.image_arguments import FoundImage, as_text, find_images
from fc7.cli.output import counted, print_note
from fc7.errors import InvalidArgument

# Names that mark the parts of a data set. Such a folder is not a class if two of them are there, or no other folder.
TRAINING, HELD_OUT = frozenset({"train", "training"}), frozenset({"val", "valid", "validation", "test", "testing"})


def folder_labels(images: Sequence[FoundImage]) -> list[str | None]:
    """Return the label of each image: the name of the first folder below its PATH.

    If PATH is a data set with train/ and val/, the label is the first folder below those. An image outside such folders
    has None.

    Raises
    ------
    InvalidArgument
        A PATH holds train/ and val/ beside other folders.
    """
    by_root: defaultdict[Path | None, list[FoundImage]] = defaultdict(list)
    for image in images:
        by_root[image.root].append(image)
    depths = {root: int(root is not None and _is_data_set(root, below)) for root, below in by_root.items()}
    parts = [(image.id.split("/"), depths[image.root]) for image in images]
    return [names[depth] if len(names) > depth + 1 else None for names, depth in parts]


def labelled_images(
    folder: Path, scan: FolderScan, parts: frozenset[str] = TRAINING
) -> tuple[list[FoundImage], list[str]]:
    """Return the images of a folder with one sub-folder per class, and the class of each.

    If the folder is a data set with train/ and val/, only the images in ``parts`` are returned, and a note says so.
    Another note names each sub-folder in which fc7 finds no picture.

    Raises
    ------
    InvalidArgument
        It is not such a folder, or an image lies in no sub-folder.
    """
    if folder.is_file():
        raise InvalidArgument(
            f"{as_text(folder)!r} is not a folder. Give a folder with one sub-folder per class", name=str(folder)
        )
    found = find_images([folder], scan)
    is_data_set = _is_data_set(folder, found)
    pairs = list(zip(found, folder_labels(found), strict=True))
    if is_data_set:
        _leave_out_other_parts(folder, found, scan, parts)
        pairs = [(image, label) for image, label in pairs if _is_of(image, parts)]
    bare = [image for image, label in pairs if label is None]
    if bare:
        raise InvalidArgument(
            f"{as_text(bare[0].path.parent)!r} holds {counted(len(bare), 'image')} outside its sub-folders, such as "
            f"{bare[0].id!r}. Move each image into the sub-folder of its class",
            name=bare[0].id,
        )
    _note_empty_classes(folder, [image for image, _ in pairs], parts if is_data_set else None, scan)
    return [image for image, _ in pairs], [str(label) for _, label in pairs]


def _is_data_set(root: Path, images: Sequence[FoundImage]) -> bool:
    """Return whether the first folders below a PATH are the parts of a data set, such as train/ and val/."""
    paths = [image.id.split("/") for image in images]
    names = {path[0] for path in paths if len(path) > 1}
    parts = {name for name in names if name.casefold() in TRAINING | HELD_OUT}
    if len(parts) < 2:
        return bool(parts) and names == parts and all(len(path) > 2 for path in paths)
    if names != parts:
        raise InvalidArgument(
            f"folder {as_text(root)!r} holds {_listed(parts)}, the parts of a data set, beside "
            f"{_listed(names - parts)}. Give the folder of one part, or leave folders out with --exclude",
            name=str(root),
        )
    return True


def _is_of(image: FoundImage, parts: frozenset[str]) -> bool:
    return str(image.folder).casefold() in parts


def _leave_out_other_parts(folder: Path, images: Sequence[FoundImage], scan: FolderScan, parts: frozenset[str]) -> None:
    """Count the images in other parts of a data set, and print which parts are used."""
    taken = {str(image.folder) for image in images if _is_of(image, parts)}
    others = Counter(str(image.folder) for image in images if not _is_of(image, parts))
    if not taken:
        raise InvalidArgument(
            f"folder {as_text(folder)!r} holds {_listed(others)}, the parts of a data set, but no "
            f"{_listed(parts, 'or')}. Give a folder with one sub-folder per class",
            name=str(folder),
        )
    for name, n in others.items():
        scan.pass_over(name, n)
    left_out = f"; {_listed(others)} left out" if others else ""
    print_note(as_text(folder), f"the classes are the folders in {_listed(taken)}{left_out}")


def _note_empty_classes(
    folder: Path, images: Sequence[FoundImage], parts: frozenset[str] | None, scan: FolderScan
) -> None:
    """Print which folders should be classes but hold no image that fc7 reads."""
    depth = 1 if parts is None else 2
    classes = {tuple(image.path.relative_to(folder).parts[:depth]) for image in images}
    for path, reasons in sorted(scan.counts_below.items()):
        is_part = parts is None or path.parts[0].casefold() in parts
        if len(path.parts) == depth and is_part and path.parts not in classes:
            held = ", ".join(f"{n} {reason}" for reason, n in reasons.items()) or "nothing"
            print_note(
                as_text(folder / path), f"not a class, because fc7 can read no image in this folder. It holds {held}"
            )


def _listed(names: Collection[str], word: str = "and") -> str:
    return f" {word} ".join(f"{name}/" for name in sorted(names))
