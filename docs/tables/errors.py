"""Errors: the classes with their codes, and the reasons."""

from __future__ import annotations

import inspect

from fc7.errors import FAMILY, Fc7Error, Reason
from tables.markdown import code, table


def classes() -> str:
    """Return a row for each class of errors."""
    rows = [(code(kind.__name__), code(kind.code), str(kind.exit_code), _meaning(kind)) for kind in FAMILY]
    return table(("Class", "gRPC code", "Exit code", "What it means"), rows)


def reasons() -> str:
    """Return a row for each reason, in the order of the classes."""
    rows = [
        (code(reason.name), code(kind.__name__), reason.value.meaning, reason.value.remedy)
        for kind in FAMILY
        for reason in Reason
        if reason.value.error_class == kind.__name__
    ]
    return table(("Reason", "Class", "What it means", "What to do"), rows)


def _meaning(kind: type[Fc7Error]) -> str:
    return (inspect.getdoc(kind) or "").partition("\n\n")[0]
