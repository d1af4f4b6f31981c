"""What a command prints and writes: results on standard output, notes and progress on standard error, whole files."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import click

from fc7.errors import FailedPrecondition, Fc7Error, InvalidArgument

_PIPE_COLUMNS = 10_000  # so that no line is wrapped: a pipe has no width
# Unicode categories that control a terminal or hide text on it: control characters (escape sequences begin with one),
# format characters (such as the right-to-left override), lone surrogates, line and paragraph separators.
_UNSAFE_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"  # format characters that emoji and several scripts need


def printable(text: str, keep: str = "") -> str:
    r"""Return text that is safe to show: characters that control a terminal become ``\xNN`` or ``\uNNNN``.

    Parameters
    ----------
    text
        Text from outside, such as a file name or a server's answer.
    keep
        Characters to leave as they are, such as a newline.
    """
    return "".join(
        character
        if unicodedata.category(character) not in _UNSAFE_CATEGORIES or character in _JOINERS + keep
        else character.encode("unicode_escape").decode()
        for character in text
    )


def print_text(text: str, *, err: bool = False) -> None:
    """Print text of one or more lines, made safe for a terminal."""
    click.echo(printable(text, keep="\n\t"), err=err)


def escape_unencodable() -> None:
    r"""Print characters that the terminal's encoding lacks as ``\xNN`` instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(value: Mapping[str, object]) -> None:
    """Print one JSON object on its own line, and flush."""
    click.echo(json.dumps(value))


def write_csv(lines: Iterable[str]) -> None:
    """Print lines that end with a newline: exactly into a file or pipe, made safe on a terminal."""
    is_terminal = sys.stdout.isatty()
    for line in lines:
        click.echo(printable(line, keep="\n\t") if is_terminal else line, nl=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table.

    Numbers are aligned to the right. Empty column names give no heading. In a pipe, lines are not wrapped.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    cells = [list(row) for row in rows]
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, show_header=any(columns))
    for i, name in enumerate(columns):
        is_number = bool(cells) and all(isinstance(row[i], int | float) for row in cells)
        grid.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in cells:
        grid.add_row(*map(_text, row))
    width = None if sys.stdout.isatty() else _PIPE_COLUMNS
    Console(width=width, markup=False, highlight=False, emoji=False).print(grid)


def print_rows(rows: Sequence[Mapping[str, object]], as_json: bool) -> None:
    """Print rows that share their keys, as a table or as one JSON object per line."""
    if as_json:
        for row in rows:
            print_json(row)
    elif rows:
        print_table(tuple(rows[0]), [tuple(row.values()) for row in rows])


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if value == 0 or abs(value) >= 1e-3 else f"{value:.2e}"
    return "" if value is None else printable(str(value))


def print_bundle(name: str, folder: Path, as_json: bool) -> None:
    """Print which bundle was written and how to serve it."""
    if as_json:
        print_json({"name": name, "bundle": str(folder)})
    else:
        print_text(f"wrote bundle {name} to {folder}. Serve it with: fc7 serve --model {folder}")


def check_writable(file: Path) -> None:
    """Refuse a file that cannot be written, so that no work is lost.

    Raises
    ------
    InvalidArgument
        It is a folder.
    FailedPrecondition
        Its folder does not exist or is not writable.
    """
    if file.is_dir():
        raise InvalidArgument(f"output {str(file)!r} is a folder. Name a file in it", name=str(file))
    if not file.parent.is_dir():
        raise FailedPrecondition(f"folder {str(file.parent)!r} does not exist. Create it first", name=str(file))
    if not os.access(file.parent, os.W_OK) or (file.exists() and not os.access(file, os.W_OK)):
        raise FailedPrecondition(f"output {str(file)!r} is not writable. Name another file", name=str(file))


@contextlib.contextmanager
def whole_file(output: Path) -> Iterator[Path]:
    """Yield a path to write to; the file appears as ``output`` when it is complete, or not at all."""
    part = output.with_name(f".part-{output.name}")  # keeps the suffix, which names the format
    try:
        yield part
        os.replace(part, output)
    finally:
        part.unlink(missing_ok=True)


def print_note(name: str, note: object) -> None:
    """Print on standard error what happened to one item."""
    text = " ".join(str(note).split()).removeprefix(f"{name!r} ")  # the name is printed anyway
    print_text(f"fc7: {printable(name)}: {text}", err=True)


def counted(n: int, noun: str) -> str:
    """Return a number with its noun: 1 picture, 2 pictures."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def item_outcome(item_id: str, status: str, error: Fc7Error | None) -> dict[str, str]:
    """Return the JSON object that says what happened to one item of a collection."""
    return {"id": item_id, "status": status} | ({} if error is None else {"error": str(error)})


def tell_damage(name: str, n_damaged: int, *, as_json: bool) -> None:
    """Say how many items of a collection are damaged, and so left out, if there are any."""
    if as_json and n_damaged:
        print_json({"damaged": n_damaged})
    elif n_damaged:
        print_text(
            f"damaged, and left out: {counted(n_damaged, 'item')} of {name}. To see which, run: "
            f"fc7 collection show {name}",
            err=True,
        )


def exit_if_failed(n_failed: int) -> None:
    """Exit with code 1 if any item failed."""
    if n_failed:
        raise click.exceptions.Exit(1)


def confirm(question: str, *, is_sure: bool) -> None:
    """Ask before something is lost, unless the user gave ``--yes``.

    Raises
    ------
    click.UsageError
        There is no terminal to ask on.
    click.Abort
        The answer is no.
    """
    if is_sure:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{printable(question)} There is no terminal to ask on. To confirm, give --yes")
    click.confirm(printable(question), abort=True, err=True)


class Report(Protocol):
    """Takes the number of items done and, if it was not known at the start, the total."""

    def __call__(self, done: int, total: int | None = None, /) -> None:
        """Move the bar."""


@contextlib.contextmanager
def progress_bar(label: str, total: int | None, *, as_json: bool = False) -> Iterator[Report]:
    """Show a progress bar on standard error if that is a terminal; yield the function that moves it.

    With ``as_json``, no bar is shown if the JSON objects go to the terminal too.
    """
    if not sys.stderr.isatty() or (as_json and sys.stdout.isatty()):
        yield lambda done, total=None, /: None
        return
    from rich import progress as bars
    from rich.console import Console
    from rich.text import Text

    class Count(bars.MofNCompleteColumn):
        def render(self, task: bars.Task) -> Text:
            return Text("preparing") if task.total is None else super().render(task)

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        Count(),
        bars.TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with bars.Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done, total=None, /: bar.update(task, completed=done, total=total)
