"""Where the training pictures are: an ImageFolder of any depth, or Tiny-ImageNet's layout."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from fc7.contract.formats import READ, suffix_of
from fc7.errors import FailedPrecondition, ImageDecodeError, InvalidArgument, NotFound
from fc7_service.bundle.recipe import Recipe
from fc7_service.features.preprocess import decode_upright, resize_and_crop

T = TypeVar("T")
Pixels = np.memmap[Any, np.dtype[np.uint8]]

_SPLITS = {"train", "test", "validation", "valid"}  # beside "val"; other names of it are not guessed
HOLD_OUT_EVERY = 20  # without a `val` folder, every 20th picture of a class is held out


@dataclass(frozen=True, slots=True)
class Dataset:
    """Pictures and their classes, in a fixed order."""

    paths: tuple[Path, ...]
    labels: tuple[str, ...]  # class id of each path
    names: dict[str, str]  # class id -> readable name

    @property
    def classes(self) -> list[str]:
        """The class ids, sorted."""
        return sorted(set(self.labels))


def read_dataset(root: Path, split: Literal["train", "val", "test"]) -> Dataset:
    """List the pictures of one split.

    Parameters
    ----------
    root
        With folders `train` and `val` inside: those are the splits, and `val` may
        be flat beside a `val_annotations.txt` (Tiny-ImageNet). Without: an
        ImageFolder, of which `val` is every 20th picture of a class. The class is
        the first folder below. A `words.txt` (id, tab, words) names the classes. Hidden
        files and folders are passed over.
    split
        "train" and "val" share no picture; "test" is `val`, or every picture where
        there are no splits.

    Raises
    ------
    NotFound
        No such folder.
    InvalidArgument
        No picture in it, fewer than two classes, a class whose name cannot stand in a line of a bundle's labels,
        a line of annotations without a tab, or a file of text that is not UTF-8.
    FailedPrecondition
        A folder in it cannot be read.
    """
    if not root.is_dir():
        raise NotFound(f"folder {str(root)!r} does not exist", name=str(root))
    is_split = (root / "train").is_dir() and (root / "val").is_dir()
    with _readable(root, "folder"):
        folders = {path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")}
    if "train" in folders and not is_split and folders <= _SPLITS:
        raise InvalidArgument(
            f"folder {str(root)!r} holds {', '.join(sorted(folders))}: these are splits, not classes; "
            "name one of them, or call the second one val",
            name=str(root),
        )
    folder = root / ("train" if split == "train" else "val") if is_split else root
    annotations = folder / "val_annotations.txt"
    if annotations.is_file():
        items = [(folder / "images" / name, label) for name, label in _annotated(annotations)]
    else:
        items = [(path, path.relative_to(folder).parts[0]) for path in _pictures(folder)]
    if not is_split and split != "test":
        items = _hold_out(items, split)
    if (n_classes := len({label for _, label in items})) < 2:
        rule = "one sub-folder a class, two at least"
        if not is_split and split == "val":
            rule = f"every {HOLD_OUT_EVERY}th of a class is held out, of two classes at least; or make train/ and val/"
        raise InvalidArgument(
            f"folder {str(folder)!r} has {len(items)} {split} pictures of {n_classes} classes: {rule}",
            name=str(folder),
        )
    dataset = Dataset(tuple(p for p, _ in items), tuple(c for _, c in items), _names(root))
    _check_names(dataset.classes, folder)
    return dataset


def training_files(folders: Sequence[Path], without: Collection[str] = ()) -> list[Path]:
    """Return the files to train on of every folder but those named; see ``read_dataset``, also for what it raises.

    Parameters
    ----------
    folders
        See ``read_dataset``.
    without
        What ``name_in_folder`` returns of files to leave out.
    """
    left_out = frozenset(without)
    paths = ((folder, path) for folder in folders for path in read_dataset(folder, "train").paths)
    return [path for folder, path in paths if name_in_folder(folder, path) not in left_out]


def name_in_folder(folder: Path, path: Path) -> str:
    """Return what a picture is called wherever its folder lies: the folder's own name and the path below it."""
    return f"{folder.resolve().name}/{path.relative_to(folder).as_posix()}"


def load_pixels(dataset: Dataset, recipe: Recipe, cache: Path) -> Pixels:
    """Decode every picture once into a memory map; later calls reopen it.

    Parameters
    ----------
    dataset
        What to decode.
    recipe
        Its ``resize_px`` is the side of the squares kept, so that crops can move.
    cache
        Folder for the memory map; its file name is a digest of the list, with sizes and times of change.

    Returns
    -------
    numpy.memmap
        uint8 (N, resize_px, resize_px, 3), read-only.

    Raises
    ------
    ImageDecodeError, FailedPrecondition
        A picture is damaged or cannot be read; it is named.
    """
    wide = recipe.with_crop(recipe.resize_px)
    px = wide.crop_px
    text = "\n".join([wide.digest(), *map(_stamp, dataset.paths)])
    key = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]
    shape = (len(dataset.paths), px, px, 3)
    path = cache / f"{key}-{px}px.uint8"
    if not path.exists() or path.stat().st_size != math.prod(shape):
        cache.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        pixels = np.memmap(part, np.uint8, "w+", shape=shape)

        def fill(i: int) -> None:
            pixels[i] = decode_file(dataset.paths[i], lambda data: resize_and_crop(decode_upright(data, wide), wide))

        with ThreadPoolExecutor() as pool:
            for _ in pool.map(fill, range(len(dataset.paths))):
                pass
        pixels.flush()
        os.replace(part, path)
    return np.memmap(path, np.uint8, "r", shape=shape)


def decode_file(path: Path, convert: Callable[[bytes], T]) -> T:
    """Return what ``convert`` makes of a file's bytes.

    Raises
    ------
    ImageDecodeError
        ``convert`` could not decode them; the file is named.
    FailedPrecondition
        The file cannot be read.
    """
    try:
        with _readable(path, "picture"):
            return convert(path.read_bytes())
    except ImageDecodeError as error:
        raise ImageDecodeError(f"picture {str(path)!r}: {error.message}", name=str(path)) from error


def read_text(file: Path) -> str:
    """Return the text of a file.

    Raises
    ------
    InvalidArgument
        It is not UTF-8.
    FailedPrecondition
        It cannot be read.
    """
    try:
        with _readable(file, "file"):
            return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidArgument(
            f"file {str(file)!r} is not UTF-8 (byte {error.start}): save it in that encoding", name=str(file)
        ) from error


@contextlib.contextmanager
def _readable(path: Path, what: str) -> Iterator[None]:
    """Turn what the system says of a path that cannot be read into an error that names it."""
    try:
        yield
    except OSError as error:
        raise FailedPrecondition(f"{what} {str(path)!r} cannot be read: {error.strerror}", name=str(path)) from error


def _stamp(path: Path) -> str:
    with _readable(path, "picture"):
        stat = path.stat()
    return f"{path} {stat.st_size} {stat.st_mtime_ns}"


def _check_names(classes: Sequence[str], folder: Path) -> None:
    for name in classes:
        if "\t" in name or name.splitlines() != [name] or not _is_utf8(name):
            raise InvalidArgument(
                f"class {name!r} of {str(folder)!r}: its name becomes a line of the bundle's labels, so it must not be "
                "empty nor hold a tab, a line break or bytes that are not UTF-8: rename it",
                name=str(folder),
            )


def _is_utf8(name: str) -> bool:
    return name.encode(errors="replace").decode() == name


def _annotated(file: Path) -> Iterator[tuple[str, str]]:
    for i, line in enumerate(read_text(file).splitlines(), 1):
        name, tab, rest = line.partition("\t")
        if tab:
            yield name, rest.partition("\t")[0]
        elif line:
            raise InvalidArgument(
                f"line {i} of {str(file)!r} has no tab: a line is picture, tab, class", name=str(file)
            )


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in _files(folder) if suffix_of(path.name) in READ and path.parent != folder)


def _files(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        name = str(error.filename)
        raise FailedPrecondition(f"folder {name!r} cannot be read: {error.strerror}", name=name) from error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _hold_out(items: list[tuple[Path, str]], split: str) -> list[tuple[Path, str]]:
    seen: dict[str, int] = {}
    kept = []
    for item in items:
        count = seen[item[1]] = seen.get(item[1], 0) + 1
        if (count % HOLD_OUT_EVERY == 0) == (split == "val"):
            kept.append(item)
    return kept


def _names(root: Path) -> dict[str, str]:
    words = root / "words.txt"
    if not words.is_file():
        return {}
    rows = (line.split("\t", 1) for line in read_text(words).splitlines() if "\t" in line)
    return {row[0]: row[1].split(",")[0].strip() for row in rows}
