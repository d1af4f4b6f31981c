"""What a command shows: JSON or a table on standard output, failures and progress on standard error."""

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

_WIDE = 10_000  # columns: a pipe has no width
# Categories of characters that steer a terminal or hide what it shows: control (escape sequences begin with one),
# format (right-to-left override, ...), lone surrogates, line and paragraph separators.
_STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"  # format characters that emoji and several scripts are written with


def printable(text: str, keep: str = "") -> str:
    r"""Return text from outside as a terminal may show it: what would steer one becomes ``\xNN`` or ``\uNNNN``."""
    return "".join(
        character
        if unicodedata.category(character) not in _STEERING or character in _JOINERS + keep
        else character.encode("unicode_escape").decode()
        for character in text
    )


def print_text(text: str, *, err: bool = False) -> None:
    """Print text of one or more lines; the only way besides `emit` and `table`."""
    click.echo(printable(text, keep="\n\t"), err=err)


def escape_unencodable() -> None:
    r"""Let standard output and error take every character, whatever their encoding: as ``\xNN`` where it lacks one."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(value: Mapping[str, object]) -> None:
    """Print one JSON object on a line of its own, flushed."""
    click.echo(json.dumps(value))


def write_csv(lines: Iterable[str]) -> None:
    """Print lines that end with a newline: with their exact characters into a file or pipe, printable on a terminal."""
    is_terminal = sys.stdout.isatty()
    for line in lines:
        click.echo(printable(line, keep="\n\t") if is_terminal else line, nl=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; numbers to the right, no heading where it is empty. In a pipe no line is wrapped."""
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
    width = None if sys.stdout.isatty() else _WIDE
    Console(width=width, markup=False, highlight=False, emoji=False).print(grid)


def print_rows(rows: Sequence[Mapping[str, object]], as_json: bool) -> None:
    """Print rows of the same keys, as a table or one JSON object each."""
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
    """Say which bundle was written, and how to serve it."""
    if as_json:
        print_json({"name": name, "bundle": str(folder)})
    else:
        print_text(f"bundle {name} in {folder}: serve it with fc7 serve --model {folder}")


def check_writable(file: Path) -> None:
    """Refuse, before the work, a file that could not be written after it.

    Raises
    ------
    InvalidArgument
        It is a folder.
    FailedPrecondition
        Its folder is missing, or may not be written in.
    """
    if file.is_dir():
        raise InvalidArgument(f"output {str(file)!r} is a folder: name a file in it", name=str(file))
    if not file.parent.is_dir():
        raise FailedPrecondition(f"folder {str(file.parent)!r} does not exist: make it first", name=str(file))
    if not os.access(file.parent, os.W_OK) or (file.exists() and not os.access(file, os.W_OK)):
        raise FailedPrecondition(f"output {str(file)!r} may not be written: name another", name=str(file))


def print_note(name: str, error: object) -> None:
    """Say on standard error what became of one item."""
    print_text(f"fc7: {printable(name)}: {' '.join(str(error).split())}", err=True)


def item_outcome(item_id: str, status: str, error: Fc7Error | None) -> dict[str, str]:
    """Return the JSON object that says what became of one item of a collection."""
    return {"id": item_id, "status": status} | ({} if error is None else {"error": str(error)})


def exit_if_failed(n_failed: int) -> None:
    """End with exit code 1 where items failed."""
    if n_failed:
        raise click.exceptions.Exit(1)


def confirm(question: str, *, is_sure: bool) -> None:
    """Ask before something is lost; without a terminal ``--yes`` must say so.

    Raises
    ------
    click.UsageError
        There is nobody to ask.
    click.Abort
        The answer is no.
    """
    if is_sure:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{printable(question)} There is no terminal to ask on: say so with --yes")
    click.confirm(printable(question), abort=True, err=True)


class Report(Protocol):
    """Takes the number done and, where it was not known before, the number in all."""

    def __call__(self, done: int, total: int | None = None, /) -> None:
        """Take them."""


@contextlib.contextmanager
def progress_bar(label: str, total: int | None, *, as_json: bool = False) -> Iterator[Report]:
    """Show a bar on a terminal's standard error; yield the function to report with.

    With ``as_json`` there is no bar where the objects go to the terminal too.
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
