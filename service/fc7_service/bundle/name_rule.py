"""The rule for names of collections, heads, bundles and their files: they become names on disk."""

from __future__ import annotations

import re

from fc7.errors import InvalidArgument, Reason

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


def check_name(name: str, what: str) -> str:
    """Return the name if it is a single path component and safe to show; refuse any other.

    Parameters
    ----------
    name
        The caller's name.
    what
        What it names, for the message: "head", "collection", "layer".

    Raises
    ------
    InvalidArgument
        Not 1 to 64 of letters, digits, ``.``, ``_``, ``-``, or beginning with ``.``.
    """
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"{what} name {name[:80]!r} is not allowed. "
            "Use 1 to 64 of A-Z, a-z, 0-9, '.', '_', '-', and do not begin with '.'",
            name="name",
            reason=Reason.INVALID_NAME,
        )
    return name
