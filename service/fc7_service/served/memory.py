"""Give freed memory back to the system."""

from __future__ import annotations

import ctypes
import sys


def give_memory_back() -> None:
    """Have the C library return what was freed; without this it keeps most of an unloaded network for later."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)  # glibc only
