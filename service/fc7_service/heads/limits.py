"""What one training may hold: all of it is in memory at once."""

from __future__ import annotations

from unicodedata import category

from fc7.errors import InvalidArgument, Reason, ResourceExhausted

MAX_BYTES = 2**30  # of rows: 60,000 of 4096 numbers; a fit holds up to seven times that, most of it D x D and N x D
ROW_BYTES = 1024  # of a row beside its numbers: label, content hash, objects
MAX_SCORES = 2**26  # rows x classes: 65,000 of 1000 classes; a fit holds about 30 bytes for each
MAX_CLASSES = 4096  # L-BFGS keeps some 25 copies of 512 x classes numbers: 0.4 GB
MAX_LABEL_CHARS = 256


def max_rows(dim: int) -> int:
    """Return how many rows of ``dim`` numbers a training takes."""
    return MAX_BYTES // (4 * dim + ROW_BYTES)


def check_size(n_rows: int, dim: int, n_classes: int) -> None:
    """Refuse what would not fit into memory.

    Raises
    ------
    ResourceExhausted
        Too many rows, classes, or both together.
    """
    if n_rows > max_rows(dim):
        raise ResourceExhausted(
            f"{n_rows} rows of {dim} numbers are too many for memory: at most {max_rows(dim)}, or a smaller layer",
            name="images",
            reason=Reason.WORK_TOO_LARGE,
        )
    if n_classes > MAX_CLASSES:
        raise ResourceExhausted(
            f"{n_classes} classes: at most {MAX_CLASSES} in one head", name="labels", reason=Reason.WORK_TOO_LARGE
        )
    if n_rows * n_classes > MAX_SCORES:
        raise ResourceExhausted(
            f"{n_rows} rows of {n_classes} classes are too many for memory: their product is at most {MAX_SCORES}",
            name="labels",
            reason=Reason.WORK_TOO_LARGE,
        )


def check_label(label: str) -> None:
    """Refuse what is no class.

    Raises
    ------
    InvalidArgument
        Empty, longer than 256 characters, not valid Unicode, or with a control character such as a line break.
    """
    if not label:
        raise InvalidArgument("a label is empty: give each row a class", name="labels")
    if len(label) > MAX_LABEL_CHARS:
        raise InvalidArgument(
            f"label {label[:32]!r} has {len(label)} characters: at most {MAX_LABEL_CHARS}", name="labels"
        )
    try:
        label.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(f"label {label!r} is not valid Unicode: rename the class", name="labels") from None
    if any(category(character) == "Cc" for character in label):
        raise InvalidArgument(
            f"label {label[:64]!r} has a control character: a label is one line of text", name="labels"
        )
