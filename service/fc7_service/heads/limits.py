"""How much one training may hold: all of it is in memory at once."""

from __future__ import annotations

from unicodedata import category

from fc7.errors import InvalidArgument, Reason, ResourceExhausted

MAX_BYTES = 2**30  # of rows: 60,000 rows of 4096 numbers. A fit adds mostly its Gram matrix, D x D in float64
ROW_BYTES = 1024  # per row, beside its numbers: label, content hash, objects
MAX_SCORES = 2**26  # rows x classes: 65,000 rows of 1000 classes. A fit keeps the scores of a fifth of the rows
MAX_CLASSES = 4096  # a fit keeps some 130 bytes for each of 1024 x classes weights: 0.5 GB
MAX_LABEL_CHARS = 256


def max_rows(dim: int) -> int:
    """Return how many rows of ``dim`` numbers a training may have."""
    return MAX_BYTES // (4 * dim + ROW_BYTES)


def check_size(n_rows: int, dim: int, n_classes: int) -> None:
    """Refuse a training set that would not fit into memory.

    Raises
    ------
    ResourceExhausted
        There are too many rows, too many classes, or too many of both together.
    """
    if n_rows > max_rows(dim):
        raise ResourceExhausted(
            f"a training may have at most {max_rows(dim)} rows of {dim} numbers (got {n_rows}): train on fewer images "
            "or on a smaller layer",
            name="images",
            reason=Reason.WORK_TOO_LARGE,
        )
    if n_classes > MAX_CLASSES:
        raise ResourceExhausted(
            f"a head may have at most {MAX_CLASSES} classes (got {n_classes})",
            name="labels",
            reason=Reason.WORK_TOO_LARGE,
        )
    if n_rows * n_classes > MAX_SCORES:
        raise ResourceExhausted(
            f"rows times classes may be at most {MAX_SCORES} (got {n_rows} rows of {n_classes} classes)",
            name="labels",
            reason=Reason.WORK_TOO_LARGE,
        )


def check_label(label: str) -> None:
    """Refuse text that cannot name a class.

    Raises
    ------
    InvalidArgument
        Empty, longer than 256 characters, not valid Unicode, or with a control character such as a line break.
    """
    if not label:
        raise InvalidArgument("a label is empty: give each row a class", name="labels")
    if len(label) > MAX_LABEL_CHARS:
        raise InvalidArgument(
            f"a label may have at most {MAX_LABEL_CHARS} characters ({label[:32]!r}... has {len(label)})", name="labels"
        )
    try:
        label.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(f"label {label!r} is not valid Unicode: rename the class", name="labels") from None
    if any(category(character) == "Cc" for character in label):
        raise InvalidArgument(
            f"label {label[:64]!r} has a control character: a label is one line of text", name="labels"
        )
