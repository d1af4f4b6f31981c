"""What must outlive a power cut, and what is no fault of a disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk."""
    if os.name == "nt":
        return  # folders cannot be opened there; a rename is journalled
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
