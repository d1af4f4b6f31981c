"""Every code block of every page runs, page by page; what cannot run here is checked as far as it goes.

A comment on the line before a block is for the tests. Readers do not see it.

    <!-- not run: needs a GPU -->                       the block cannot run here; its commands and options must exist
    <!-- first: fc7 head train garden photos/ -->       shell commands that the block needs, run before it
    <!-- not compared: another server's answer -->      an output block, whose lines need not begin as the real output
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import fc7
from fc7.cli import main
from pages import PAGES, ROOT, RUN, SHOWN, Block, check, plain_commands, read_blocks
from servers import WAIT_S
from world import make_world


class Session:
    """Runs the blocks of one page in one folder, over one data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, object] = {"__name__": "__main__"}
        self._open = contextlib.ExitStack()
        self._holder = self._open.enter_context(fc7.connect())  # commands find its server, and start none
        self._server: subprocess.Popen[str] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free, socket.create_server(("127.0.0.1", 0)) as other:
            self._address = f"127.0.0.1:{free.getsockname()[1]}"
            self._http = f"127.0.0.1:{other.getsockname()[1]}"

    def close(self) -> None:
        self._stop_server()
        self._open.close()

    def run(self, block: Block) -> str:
        """Run a block and return what it printed."""
        if block.first:
            self._run_shell(block, block.first)
        code = re.sub(r"(127\.0\.0\.1|localhost):50051", self._address, block.code)
        code = re.sub(r"(127\.0\.0\.1|localhost):8080", self._http, code)
        if block.language == "python":
            return self._run_python(block, code)
        calls = plain_commands(Block(block.page, block.line, block.language, code))
        if calls is None:
            return self._run_shell(block, code)
        return "".join(self._serve(block, call) if call[0] == "serve" else self._call(block, call) for call in calls)

    def _run_python(self, block: Block, code: str) -> str:
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile("\n" * (block.line - 1) + code, block.page, "exec"), self._names)
        except Exception as error:
            lines = [
                frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(block.page)
            ]
            place = f"{block.place.rpartition(':')[0]}:{lines[-1] if lines else block.line}"
            pytest.fail(f"{place}: {type(error).__name__}: {error}", pytrace=False)
        return printed.getvalue()

    def _call(self, block: Block, words: list[str]) -> str:
        result = CliRunner().invoke(main, words, prog_name="fc7")
        if result.exit_code != 0:
            pytest.fail(
                f"{line_of(block, words)}: fc7 {' '.join(words)}: {result.exit_code}: {result.output}", pytrace=False
            )
        return result.output

    def _run_shell(self, block: Block, code: str) -> str:
        path = f"{self._folder}/programs{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", code],
            cwd=self._folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=WAIT_S,
        )
        if done.returncode != 0:
            pytest.fail(f"{block.place}: exit code {done.returncode}: {done.stderr}", pytrace=False)
        return done.stdout + done.stderr

    def _serve(self, block: Block, words: list[str]) -> str:
        """Start a server that runs until the next one, or until the page ends."""
        self._stop_server()
        if "--data" not in words:
            self._open.close()  # the server holds the data folder from now on
        command = [sys.executable, "-m", "fc7", *words]
        self._server = subprocess.Popen(
            command, cwd=self._folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._server.stdout is not None
        first = self._server.stdout.readline()
        if not first.startswith("listening on "):
            pytest.fail(
                f"{line_of(block, words)}: the server did not start: {first}{self._server.stdout.read()}", pytrace=False
            )
        return first

    def _stop_server(self) -> None:
        if self._server is not None:
            self._server.terminate()
            self._server.wait(WAIT_S)
            assert self._server.stdout is not None
            self._server.stdout.close()
            self._server = None


def line_of(block: Block, words: list[str]) -> str:
    """Return the page and the line of one of a block's plain calls."""
    calls = plain_commands(block) or []
    offsets = [i for i, line in enumerate(block.code.splitlines()) if line.startswith("fc7 ")]
    same = [
        offset for call, offset in zip(calls, offsets, strict=True) if call[:2] == words[:2] and len(call) == len(words)
    ]
    return f"{block.place.rpartition(':')[0]}:{block.line + (same[0] if same else 0)}"


def missing_words(shown: str, printed: str) -> list[str]:
    """Return the first words of the lines of an output block that begin no line of the output; numbers aside."""
    begun = {line.split()[0] for line in printed.splitlines() if line.split()}
    words = [line.split()[0] for line in shown.splitlines() if line.split()]
    return [word for word in words if re.fullmatch(r"[a-z_]{3,}", word) and word not in begun]


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    make_world(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    session = Session(tmp_path)
    try:
        yield session
    finally:
        session.close()


def with_blocks(is_run: bool) -> list[Path]:
    return [page for page in PAGES if any(b.language in RUN and bool(b.reason) != is_run for b in read_blocks(page))]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", with_blocks(is_run=True), ids=name)
def test_the_blocks_of_a_page_run(page: Path, session: Session) -> None:
    printed = ""
    for block in read_blocks(page):
        if block.language in RUN:
            printed = "" if block.reason else session.run(block)
        elif block.language == "text" and block.follows and printed and not block.reason:
            missing = missing_words(block.code, printed)
            assert missing == [], f"{block.place}: the output has no lines that begin like this. It is:\n{printed}"


@pytest.mark.parametrize("page", with_blocks(is_run=False), ids=name)
def test_what_does_not_run_exists(page: Path) -> None:
    for block in read_blocks(page):
        if block.language in RUN and block.reason:
            check(block)


def test_a_line_that_the_output_has_no_more_is_named() -> None:
    printed = "server   ready\nbeach/e.jpg   0.3780\naccuracy 0.9 on 3 pictures\n"
    assert missing_words("server   ready\naccuracy 0.8 on 5 pictures\nbeach/x.jpg 0.1\n0.5 ...\n", printed) == []
    assert missing_words("server   ready\naccurate 0.9\n", printed) == ["accurate"]


def test_every_block_has_a_language() -> None:
    wrong = [b.place for page in PAGES for b in read_blocks(page) if b.language not in RUN + SHOWN]
    assert wrong == [], f"sh and python run; {', '.join(SHOWN)} are shown"
