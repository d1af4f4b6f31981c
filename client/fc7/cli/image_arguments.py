"""The images that arguments name, and their ids: files, folders, URLs and standard input."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from fc7.cli.folder_scan import FolderScan
from fc7.cli.output import exit_if_failed, print_note, print_text
from fc7.contract.formats import READ
from fc7.errors import FailedPrecondition, InvalidArgument, NotFound

_INPUT = "-"  # standard input, where an argument names it


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image."""

    id: str  # path below the PATH that was given, with "/"; a lone file: its name; a URL: itself
    source: Path | str | bytes  # a file as reached from the PATH given, a URL, or what came from standard input
    root: Path | None = None  # the PATH given, where it is a folder

    @property
    def path(self) -> Path:
        """The file of an image that was found in a folder."""
        assert isinstance(self.source, Path)
        return self.source

    @property
    def name(self) -> str:
        """The path or the URL as text, to be shown."""
        if isinstance(self.source, bytes):
            return _INPUT
        return as_text(self.source) if isinstance(self.source, Path) else self.source

    @property
    def folder(self) -> str | None:
        """First folder below the PATH given; None for an image that lies in none."""
        first, slash, _ = self.id.partition("/")
        return first if slash else None


class ImageLocation(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click
    """A file or a folder as a `Path`; a URL and "-" as text."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        """Return the path, the URL or "-"."""
        from fc7.download import is_url

        return value if value == _INPUT or is_url(value) else Path(value)


def paths_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument PATH..."""
    argument = click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=ImageLocation())
    return argument(command)


def read_input() -> bytes:
    """Return the picture on standard input.

    Raises
    ------
    click.UsageError
        It is a terminal.
    InvalidArgument
        It is empty, or too large.
    """
    from fc7.images import MAX_IMAGE_BYTES

    if sys.stdin.isatty():
        raise click.UsageError("standard input is a terminal: send a picture into it, for example with < picture.jpg")
    data = sys.stdin.buffer.read(MAX_IMAGE_BYTES + 1)
    if not data:
        raise InvalidArgument("standard input is empty: send one picture into it, and give - once", name=_INPUT)
    if len(data) > MAX_IMAGE_BYTES:
        raise InvalidArgument(f"standard input has more than {MAX_IMAGE_BYTES} bytes: send one picture", name=_INPUT)
    return data


def read_query(image: Path | str) -> Path | str | bytes:
    """Return one image that an argument names."""
    return read_input() if image == _INPUT else image


def find_images(paths: Sequence[Path | str], scan: FolderScan) -> list[FoundImage]:
    """List the images of files, URLs, standard input and folders, the latter searched recursively and sorted.

    Raises
    ------
    NotFound
        A PATH does not exist.
    InvalidArgument
        A folder without an image.
    FailedPrecondition
        A PATH that is a folder cannot be read.
    """
    return [image for path in paths for image in _below(path, scan)]


def find_items(paths: Sequence[Path | str], way_out: str, scan: FolderScan) -> list[FoundImage]:
    """List images as `find_images` does, each of an id of its own.

    Raises
    ------
    InvalidArgument
        Two images of one id; the text ends with ``way_out``.
    """
    found: dict[str, FoundImage] = {}
    for image in find_images(paths, scan):
        other = found.setdefault(image.id, image)
        if other is not image:
            raise InvalidArgument(
                f"{other.name!r} and {image.name!r} both have the id {image.id!r}, which may occur once in a run: "
                f"give the folder above them, or {way_out}",
                name=image.id,
            )
    return list(found.values())


def _below(path: Path | str, scan: FolderScan) -> list[FoundImage]:
    if isinstance(path, str):
        return [FoundImage(path, read_query(path))]
    if path.is_dir():
        return _in_folder(path, scan)
    if not path.exists():
        raise NotFound(f"{str(path)!r} does not exist: give an image or a folder", name=str(path))
    if scan.is_excluded(Path(path.name)):
        scan.pass_over("excluded", 1)
        return []
    return [FoundImage(as_text(Path(path.name)), path)]


def _in_folder(folder: Path, scan: FolderScan) -> list[FoundImage]:
    try:
        images = [FoundImage(as_text(file), folder / file, folder) for file in scan.files(folder)]
    except OSError as error:
        name = as_text(folder)
        raise FailedPrecondition(f"folder {name!r} cannot be read: {error.strerror}", name=name) from error
    if not images:
        raise InvalidArgument(
            f"folder {as_text(folder)!r} holds no image: looked for {', '.join(sorted(READ))} at any depth. "
            f"{str(scan).capitalize() or 'Nothing was passed over'}",
            name=str(folder),
        )
    return sorted(images, key=lambda image: image.id)


def finish(scan: FolderScan, n_failed: int, *, as_json: bool = False) -> None:
    """Say what was passed over; end with exit code 1 where images failed or folders could not be read.

    With ``as_json`` the command has printed `FolderScan.to_dict` itself.
    """
    for folder, why in scan.unreadable:
        print_note(as_text(folder), f"the folder cannot be read: {why}")
    if str(scan) and not as_json:
        print_text(str(scan), err=True)
    exit_if_failed(n_failed + len(scan.unreadable))


def as_text(path: Path) -> str:
    r"""Return a path with "/"; what is not UTF-8 in it becomes ``\xNN``."""
    from fc7.images import text_of

    return text_of(path.as_posix())
