"""The images that PATH arguments name, and their ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from fc7.cli.output import complain, end, say
from fc7.cli.selection import Selection
from fc7.errors import FailedPrecondition, InvalidArgument, NotFound
from fc7.formats import READ


@dataclass(frozen=True, slots=True)
class Found:
    """An image file."""

    id: str  # path below the PATH that was given, with "/"; a lone file: its name
    path: Path  # as reached from the PATH given
    root: Path | None = None  # the PATH given, where it is a folder

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


def find_images(paths: Sequence[Path], selection: Selection) -> list[Found]:
    """List the images of files and folders, folders searched recursively and sorted.

    Raises
    ------
    NotFound
        A PATH does not exist.
    InvalidArgument
        A folder without an image.
    FailedPrecondition
        A PATH that is a folder cannot be read.
    """
    return [image for path in paths for image in _below(path, selection)]


def find_items(paths: Sequence[Path], way_out: str, selection: Selection) -> list[Found]:
    """List images as `find_images` does, each of an id of its own.

    Raises
    ------
    InvalidArgument
        Two images of one id; the text ends with ``way_out``.
    """
    found: dict[str, Found] = {}
    for image in find_images(paths, selection):
        other = found.setdefault(image.id, image)
        if other is not image:
            raise InvalidArgument(
                f"{other.name!r} and {image.name!r} both have the id {image.id!r}, which may occur once in a run: "
                f"give the folder above them, or {way_out}",
                name=image.id,
            )
    return list(found.values())


def _below(path: Path, selection: Selection) -> list[Found]:
    if path.is_dir():
        return _in_folder(path, selection)
    if not path.exists():
        raise NotFound(f"{str(path)!r} does not exist: give an image or a folder", name=str(path))
    if selection.is_excluded(Path(path.name)):
        selection.pass_over("excluded", 1)
        return []
    return [Found(as_text(Path(path.name)), path)]


def _in_folder(folder: Path, selection: Selection) -> list[Found]:
    try:
        images = [Found(as_text(file), folder / file, folder) for file in selection.files(folder)]
    except OSError as error:
        name = as_text(folder)
        raise FailedPrecondition(f"folder {name!r} cannot be read: {error.strerror}", name=name) from error
    if not images:
        raise InvalidArgument(
            f"folder {as_text(folder)!r} holds no image: looked for {', '.join(sorted(READ))} at any depth. "
            f"{str(selection).capitalize() or 'Nothing was passed over'}",
            name=str(folder),
        )
    return sorted(images, key=lambda image: image.id)


def conclude(selection: Selection, n_failed: int, *, as_json: bool = False) -> None:
    """Say what was passed over; end with exit code 1 where images failed or folders could not be read.

    With ``as_json`` the command has printed `Selection.to_dict` itself.
    """
    for folder, why in selection.unreadable:
        complain(as_text(folder), f"the folder cannot be read: {why}")
    if str(selection) and not as_json:
        say(str(selection), err=True)
    end(n_failed + len(selection.unreadable))


def as_text(path: Path) -> str:
    r"""Return a path with "/"; what is not UTF-8 in it becomes ``\xNN``."""
    from fc7.images import text_of

    return text_of(path.as_posix())
