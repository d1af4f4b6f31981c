"""Find the pictures of a data set on disk: one folder per class at any depth, or the layout of Tiny-ImageNet."""

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

_SPLITS = {"train", "test", "validation", "valid"}  # names of splits; fc7 reads "train" and "val", and refuses the rest
HOLD_OUT_EVERY = 20  # if there is no `val` folder, every 20th picture of each class is held out


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
        A folder with one folder per class, which may have more folders inside. The split "val" is then every 20th
        picture of each class. Or a folder with `train` and `val` inside, each with one folder per class; `val` may
        instead hold a `val_annotations.txt` and a folder `images` (Tiny-ImageNet). A file `words.txt` (id, tab, words)
        may name the classes. Hidden files and folders are skipped.
    split
        "train" and "val" share no picture. "test" is the folder `val`, or every picture if there is no such folder.

    Raises
    ------
    NotFound
        The folder does not exist.
    InvalidArgument
        It holds no picture, fewer than two classes, a class whose name cannot be a line of a bundle's labels, a line
        of annotations without a tab, or a text file that is not UTF-8.
    FailedPrecondition
        The folder, or one inside it, cannot be read.
    """
    if not root.is_dir():
        raise NotFound(f"folder {str(root)!r} does not exist", name=str(root))
    is_split = (root / "train").is_dir() and (root / "val").is_dir()
    with _readable(root, "folder"):
        folders = {path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")}
    if "train" in folders and not is_split and folders <= _SPLITS:
        raise InvalidArgument(
            f"folder {str(root)!r} holds splits, not classes ({', '.join(sorted(folders))}). "
            "Name one of them, or rename the validation split to val",
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
        rule = "it needs one folder per class, and at least two classes"
        if not is_split and split == "val":
            rule = (
                f"every {HOLD_OUT_EVERY}th picture of a class is held out, and at least two classes need one; "
                "add pictures, or make folders train/ and val/"
            )
        raise InvalidArgument(
            f"folder {str(folder)!r} has {len(items)} {split} pictures of {n_classes} classes: {rule}",
            name=str(folder),
        )
    dataset = Dataset(tuple(p for p, _ in items), tuple(c for _, c in items), _names(root))
    _check_names(dataset.classes, folder)
    return dataset


def training_files(folders: Sequence[Path], without: Collection[str] = ()) -> list[Path]:
    """Return the training pictures of several folders. Raises what ``read_dataset`` raises.

    Parameters
    ----------
    folders
        See ``read_dataset``.
    without
        Pictures to leave out, as ``name_in_folder`` names them.
    """
    left_out = frozenset(without)
    paths = ((folder, path) for folder in folders for path in read_dataset(folder, "train").paths)
    return [path for folder, path in paths if name_in_folder(folder, path) not in left_out]


def name_in_folder(folder: Path, path: Path) -> str:
    """Return a name of a picture that does not depend on where its folder is: FOLDER/PATH."""
    return f"{folder.resolve().name}/{path.relative_to(folder).as_posix()}"


def load_pixels(dataset: Dataset, recipe: Recipe, cache: Path) -> Pixels:
    """Decode every picture into a memory map. Later calls open that map again.

    Parameters
    ----------
    dataset
        What to decode.
    recipe
        Pictures become squares of ``resize_px`` pixels, so that training can move its crops.
    cache
        Folder for the memory map. Its file name is a digest of the paths, file sizes and times of change.

    Returns
    -------
    numpy.memmap
        uint8 (N, resize_px, resize_px, 3), read-only.

    Raises
    ------
    ImageDecodeError, FailedPrecondition
        A picture is damaged or cannot be read. The message names it.
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
    """Return ``convert(content)`` of the file of a picture.

    Raises
    ------
    ImageDecodeError
        ``convert`` cannot decode the content. The message names the file.
    FailedPrecondition
        The file cannot be read.
    """
    try:
        with _readable(path, "picture"):
            return convert(path.read_bytes())
    except ImageDecodeError as error:
        raise ImageDecodeError(f"picture {str(path)!r} cannot be decoded: {error.message}", name=str(path)) from error


def read_text(file: Path) -> str:
    """Return the text of a file.

    Raises
    ------
    InvalidArgument
        The file is not UTF-8.
    FailedPrecondition
        The file cannot be read.
    """
    try:
        with _readable(file, "file"):
            return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidArgument(
            f"file {str(file)!r} is not UTF-8 (byte {error.start}). Save it as UTF-8", name=str(file)
        ) from error


@contextlib.contextmanager
def _readable(path: Path, what: str) -> Iterator[None]:
    """Turn an OSError into an error that names the path."""
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
                f"class {name!r} of {str(folder)!r} becomes a line of the bundle's labels, so its name must not be "
                "empty or hold a tab, a line break or bytes that are not UTF-8. Rename it",
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
                f"line {i} of {str(file)!r} has no tab. Write on each line: picture, tab, class", name=str(file)
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
