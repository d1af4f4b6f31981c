"""Change files and folders in one step, which survives a power failure; recognise errors that pass."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

_NEW, _DELETED = ".new-", ".deleted-"  # names that callers give never begin with a dot
_LEFTOVERS = (_NEW, _DELETED, ".part-", ".gone-")  # the last two were written up to release 0.2
_replacing = threading.Lock()


def replace_file(path: Path, data: bytes, *, mode: int = 0o666, is_durable: bool = True) -> None:
    """Give ``path`` new content in one step: a reader sees the old bytes or the new ones.

    Parameters
    ----------
    path
        Need not exist.
    data
        The whole content.
    mode
        Permissions, less the process's mask.
    is_durable
        The new content survives a power failure once this returns. Without it, nothing waits for the disk.

    Raises
    ------
    OSError
        The old content is still there.
    """
    part = path.with_name(path.name + ".part")
    with _replacing:  # two writers would share the part
        part.unlink(missing_ok=True)
        old = path.read_bytes() if is_durable and path.exists() else None
        try:
            with open(part, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
                file.write(data)
                if is_durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        if is_durable:
            _sync_or_undo(path.parent, path.unlink if old is None else partial(path.write_bytes, old))


def write_file(path: Path, data: bytes) -> None:
    """Write a file that nobody reads yet; its bytes are on disk when this returns."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def new_folder(path: Path, root: Path) -> Iterator[Path]:
    """Yield an empty folder to fill. It becomes ``path`` in one step when the block ends without an error.

    Parameters
    ----------
    path
        Does not exist; its parent does.
    root
        Where the folder is until then. ``remove_leftovers(root)`` removes it if the process is killed.
    """
    part = root / f"{_NEW}{uuid.uuid4().hex}"
    try:
        part.mkdir()
        yield part
        sync_folder(part)
        part.rename(path)
        _sync_or_undo(path.parent, partial(path.rename, part))
    finally:
        shutil.rmtree(part, ignore_errors=True)


def hide_folder(path: Path, root: Path) -> Path:
    """Take a folder out of sight in one step, which no power failure undoes; return where it is now.

    The caller then deletes it with ``shutil.rmtree``. What stays is removed by ``remove_leftovers(root)``.

    Raises
    ------
    OSError
        The folder is where it was.
    """
    hidden = root / f"{_DELETED}{uuid.uuid4().hex}"
    path.rename(hidden)
    _sync_or_undo(path.parent, partial(hidden.rename, path))
    return hidden


def remove_leftovers(root: Path) -> None:
    """Remove what a killed process left in ``root`` of folders that it was making or deleting."""
    for prefix in _LEFTOVERS:
        for folder in root.glob(f"{prefix}*"):
            shutil.rmtree(folder, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk."""
    if os.name == "nt":
        return  # folders cannot be opened there; a rename is journalled
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_or_undo(folder: Path, undo: Callable[[], object]) -> None:
    """Bring the names in a folder to disk. If that fails, undo the change, so that the error is true, and raise it."""
    try:
        sync_folder(folder)
    except OSError:
        with contextlib.suppress(OSError):
            undo()
        raise


def is_out_of_files(error: BaseException | None) -> bool:
    """Tell whether an error says that this process, or the machine, may open no more files: that passes."""
    texts = [os.strerror(code) for code in (errno.EMFILE, errno.ENFILE)]
    while error is not None:
        if any(text in str(error) for text in texts):  # libraries written in C++ keep the text alone
            return True
        error = error.__cause__ or error.__context__
    return False


def can_open_files() -> bool:
    """Tell whether this process may open one more file."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return not is_out_of_files(error)
    return True
