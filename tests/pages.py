"""The pages of the documentation as the tests read them: their code blocks, and the commands in these."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from fc7.cli import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = ("sh", "python")
SHOWN = ("json", "proto", "text", "toml", "yaml")  # languages of blocks that nothing runs
FENCE = re.compile(r"^( *)```(.*)$")
MARKER = re.compile(r"^ *<!-- (not run|not compared|first): (.+) -->$")
BEFORE_A_COMMAND = ("!", "do", "else", "if", "nohup", "sudo", "then", "time", "while")
OPERATORS = {"|", "||", "&&", ";", "&", ">", ">>", "<", "<<<", "2>", "2>>", "(", ")"}


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    page: Path
    line: int  # of its first line of code
    language: str
    code: str
    reason: str = ""  # why it does not run here, or why its text is not compared
    first: str = ""  # shell commands that run before it and that readers do not see
    follows: bool = False  # whether it comes directly after another block, as output does

    @property
    def place(self) -> str:
        """Return the page and the line, as error messages name them."""
        page = self.page.relative_to(ROOT) if self.page.is_relative_to(ROOT) else self.page.name
        return f"{page}:{self.line}"


def read_blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page in their order."""
    blocks: list[Block] = []
    before: list[str] = []  # lines with text since the block before
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        if not (fence := FENCE.match(line)):
            before += [line] if line.strip() else []
            continue
        indent, language = fence.groups()
        code = []
        for _, inner in lines:
            if inner.strip() == "```":
                break
            code.append(inner.removeprefix(indent))
        marker = MARKER.match(before[-1]) if before else None
        kind, text = marker.groups() if marker else ("", "")
        reason, first = ("", text) if kind == "first" else (text, "")
        follows = bool(blocks) and len(before) == bool(marker)
        blocks.append(Block(page, number + 1, language, "\n".join(code) + "\n", reason, first, follows))
        before = []
    return blocks


def commands(block: Block) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the words of each simple command of a shell block."""
    number, rest = block.line, block.code.splitlines()
    while rest:
        line, start = rest.pop(0), number
        number += 1
        while rest and (line.endswith("\\") or _is_open(line)):
            line = line.removesuffix("\\") + "\n" * _is_open(line) + rest.pop(0)
            number += 1
        words: list[str] = []
        for word in _split(line):
            if word in OPERATORS:
                yield from [(start, words)] if words else []
                words = []
            else:
                words.append(word)
        yield from [(start, words)] if words else []


def _split(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def _is_open(line: str) -> bool:
    """Tell whether a quote of the line is not closed."""
    try:
        _split(line)
    except ValueError:
        return True
    return False


def plain_commands(block: Block) -> list[list[str]] | None:
    """Return the arguments of each `fc7` of a block that holds nothing but calls of `fc7`; None for any other."""
    if re.search(r"[|&;<>$`(){}~\\]|^(?!fc7 |#|$)", block.code, re.MULTILINE):
        return None
    lines = [shlex.split(line, comments=True) for line in block.code.splitlines()]
    return [line[1:] for line in lines if line]


def check(block: Block) -> None:
    """Check what can be checked of a block that does not run: its syntax, and that what it calls exists.

    Raises
    ------
    AssertionError
        Something in it does not exist. The text names the page and the line.
    """
    if block.language == "python":
        try:
            ast.parse(block.code)
        except SyntaxError as error:
            raise AssertionError(f"{block.place}: {error}") from error
        return
    for line, words in commands(block):
        place = f"{block.place.rpartition(':')[0]}:{line}"
        try:
            check_command(words)
        except click.ClickException as error:
            raise AssertionError(f"{place}: {' '.join(words)}: {error.format_message()}") from error
        except (AssertionError, StopIteration) as error:
            raise AssertionError(f"{place}: {' '.join(words)}: {error}") from error


def check_command(words: list[str]) -> None:
    """Check that a command exists, with its subcommands and options, its script or its target."""
    if "fc7" in words and (words[0] in ("docker", "torchrun") or words[:2] == ["python", "-m"]):
        words = words[words.index("fc7") :]
    while re.match(r"\w+=", words[0]) or words[0] in BEFORE_A_COMMAND:
        words = words[1:]
        if not words:
            return
    if words[0] == "fc7":
        check_fc7(words[1:])
    elif words[0] == "python" and words[1].endswith(".py"):
        assert (ROOT / words[1]).is_file(), "there is no such script"
    elif words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        for word in words[1:]:
            assert "=" in word or word in targets, f"the Makefile has no target {word}"


def check_fc7(words: list[str]) -> None:
    """Read the arguments as the command would, without running it."""
    context, command = click.Context(main), main
    while isinstance(command, click.Group) and words and not {"--help", "--version"} & {words[0]}:
        _, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found
    if not isinstance(command, click.Group) and "--help" not in words:
        command.make_context(command.name, list(words))
