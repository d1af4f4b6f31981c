"""The images that PATH arguments name, and their ids."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from fc7.errors import FailedPrecondition, InvalidArgument, NotFound
from fc7.formats import READ, suffix_of


@dataclass(frozen=True, slots=True)
class Found:
    """An image file."""

    id: str  # path below the PATH that was given, with "/"; a lone file: its name
    path: Path  # as reached from the PATH given

    @property
    def name(self) -> str:
        """The path as text, to be shown."""
        return as_text(self.path)

    @property
    def folder(self) -> str | None:
        """First folder below the PATH given; None for an image that lies in none."""
        first, slash, _ = self.id.partition("/")
        return first if slash else None


def paths_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument PATH..."""
    argument = click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
    return argument(command)


def find_images(paths: Sequence[Path]) -> list[Found]:
    """List the images of files and folders, folders searched recursively and sorted.

    Hidden files and folders below a PATH are passed over, linked folders not followed.

    Raises
    ------
    NotFound
        A PATH does not exist.
    InvalidArgument
        A folder without an image.
    FailedPrecondition
        A folder cannot be read.
    """
    return [image for path in paths for image in _below(path)]


def find_items(paths: Sequence[Path], way_out: str) -> list[Found]:
    """List images as `find_images` does, each of an id of its own.

    Raises
    ------
    InvalidArgument
        Two images of one id; the text ends with ``way_out``.
    """
    found: dict[str, Found] = {}
    for image in find_images(paths):
        other = found.setdefault(image.id, image)
        if other is not image:
            raise InvalidArgument(
                f"{other.name!r} and {image.name!r} both have the id {image.id!r}, which may occur once in a run: "
                f"give the folder above them, or {way_out}",
                name=image.id,
            )
    return list(found.values())


def _below(path: Path) -> list[Found]:
    if path.is_dir():
        images = [Found(as_text(file.relative_to(path)), file) for file in _walk(path)]
        if not images:
            raise InvalidArgument(
                f"folder {str(path)!r} holds no image: looked for {', '.join(sorted(READ))} at any depth, "
                "but not in hidden or linked folders",
                name=str(path),
            )
        return sorted(images, key=lambda image: image.id)
    if not path.exists():
        raise NotFound(f"{str(path)!r} does not exist: give an image or a folder", name=str(path))
    return [Found(as_text(Path(path.name)), path)]


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        name = as_text(Path(error.filename))
        raise FailedPrecondition(f"folder {name!r} cannot be read: {error.strerror}", name=name) from error

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and suffix_of(name) in READ:
                yield Path(parent, name)


def as_text(path: Path) -> str:
    r"""Return a path with "/"; what is not UTF-8 in it becomes ``\xNN``."""
    from fc7.images import text_of

    return text_of(path.as_posix())
