"""Image arguments of commands: files, folders, URLs and standard input become images with ids."""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import click

from fc7.cli.folder_scan import FolderScan
from fc7.cli.output import exit_if_failed, print_note, print_text
from fc7.contract.formats import READ
from fc7.errors import FailedPrecondition, InvalidArgument, NotFound

_STDIN = "-"


@dataclass(frozen=True, slots=True)
class FoundImage:
    """One image that a command works on."""

    id: str  # its path below the folder given, with "/"; for a single file its name; for a URL or "-" the argument
    source: Path | str | bytes  # a file, a URL, or the bytes from standard input
    root: Path | None = None  # the folder given, if the image was found in one

    @property
    def path(self) -> Path:
        """Its file; only an image that was found in a folder is sure to have one."""
        assert isinstance(self.source, Path)
        return self.source

    @property
    def name(self) -> str:
        """Its path or URL as text for messages; "-" for standard input."""
        if isinstance(self.source, bytes):
            return _STDIN
        return as_text(self.source) if isinstance(self.source, Path) else self.source

    @property
    def folder(self) -> str | None:
        """Name of the first folder below the PATH given; None for an image directly in it."""
        first, slash, _ = self.id.partition("/")
        return first if slash else None


class ImageLocation(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click
    """Type of an argument that names images: a file or a folder becomes a `Path`; a URL and "-" stay text."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        """Return the path, the URL or "-"."""
        from fc7.download import is_url

        return value if value == _STDIN or is_url(value) else Path(value)


paths_argument = click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=ImageLocation())
image_argument = click.argument("image", type=ImageLocation())


def read_stdin() -> bytes:
    """Return the picture on standard input.

    Raises
    ------
    click.UsageError
        Standard input is a terminal.
    InvalidArgument
        Standard input is empty or too large.
    """
    from fc7.images import MAX_IMAGE_BYTES

    if sys.stdin.isatty():
        raise click.UsageError("standard input is a terminal. Send a picture into it, for example with < picture.jpg")
    data = sys.stdin.buffer.read(MAX_IMAGE_BYTES + 1)
    if not data:
        raise InvalidArgument("standard input is empty. Send one picture into it, and give - only once", name=_STDIN)
    if len(data) > MAX_IMAGE_BYTES:
        raise InvalidArgument(
            f"standard input has more than {MAX_IMAGE_BYTES} bytes. Send a single, smaller picture", name=_STDIN
        )
    return data


def read_query(image: Path | str) -> Path | str | bytes:
    """Return an image argument as the client takes it: a path, a URL, or the bytes from standard input."""
    return read_stdin() if image == _STDIN else image


@contextlib.contextmanager
def local_file(image: Path | str) -> Iterator[Path]:
    """Yield an image argument as a file; a URL or standard input becomes a temporary file for the time being.

    Raises
    ------
    Fc7Error
        As `fc7.images.read_image`, and as `read_stdin`.
    """
    from fc7.images import read_image

    if isinstance(image, Path):
        yield image
        return
    content = read_image(read_query(image))
    last_part = unquote(urlsplit(image).path).rpartition("/")[2]
    name = (
        "standard input"
        if image == _STDIN
        else re.sub(r"[^A-Za-z0-9_.-]", "_", last_part).lstrip(".")[-100:] or "image"
    )
    with tempfile.TemporaryDirectory(prefix="fc7-") as folder:
        path = Path(folder) / name
        path.write_bytes(content.data)
        yield path


def find_images(paths: Sequence[Path | str], scan: FolderScan) -> list[FoundImage]:
    """List the images that PATH arguments name; folders are searched recursively, and their images sorted.

    Raises
    ------
    NotFound
        A PATH does not exist.
    InvalidArgument
        A folder holds no image.
    FailedPrecondition
        A folder given as PATH cannot be read.
    """
    return [image for path in paths for image in _below(path, scan)]


def find_items(paths: Sequence[Path | str], advice: str, scan: FolderScan) -> list[FoundImage]:
    """List images as `find_images` does, and check that no two have the same id.

    Raises
    ------
    InvalidArgument
        Two images have the same id. The message ends with ``advice``.
    """
    found: dict[str, FoundImage] = {}
    for image in find_images(paths, scan):
        other = found.setdefault(image.id, image)
        if other is not image:
            raise InvalidArgument(
                f"{other.name!r} and {image.name!r} have the same id {image.id!r}. Give the folder above them, or "
                f"{advice}",
                name=image.id,
            )
    return list(found.values())


def _below(path: Path | str, scan: FolderScan) -> list[FoundImage]:
    if isinstance(path, str):
        return [FoundImage(path, read_query(path))]
    if path.is_dir():
        return _in_folder(path, scan)
    if not path.exists():
        raise NotFound(f"{str(path)!r} does not exist. Give an image or a folder", name=str(path))
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
            f"folder {as_text(folder)!r} holds no image. fc7 looked for {', '.join(sorted(READ))} at any depth. "
            f"{str(scan).capitalize() or 'Nothing was passed over'}",
            name=str(folder),
        )
    return sorted(images, key=lambda image: image.id)


def finish(scan: FolderScan, n_failed: int, *, as_json: bool = False) -> None:
    """End a command: print what was passed over, and exit with code 1 if images failed or folders were unreadable.

    With ``as_json``, the command has printed `FolderScan.to_dict` itself.
    """
    for folder, why in scan.unreadable:
        print_note(as_text(folder), f"the folder cannot be read: {why}")
    if str(scan) and not as_json:
        print_text(str(scan), err=True)
    exit_if_failed(n_failed + len(scan.unreadable))


def as_text(path: Path) -> str:
    r"""Return a path as text with "/"; bytes that are not UTF-8 become ``\xNN``."""
    from fc7.images import text_of

    return text_of(path.as_posix())
