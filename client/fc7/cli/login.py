"""Who says so, where nobody gave a name: the login name."""

from __future__ import annotations

import getpass


def login_name() -> str:
    """Return the user's login name; empty for a user without one, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
