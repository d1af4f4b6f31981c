"""The tests of the pages see what is wrong in a code block, and name its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pages import Block, check, commands, plain_commands, read_blocks

PAGE = """# Title

```sh
fc7 doctor
```

```text
server  ready
```

Some prose.

- A list:

  <!-- not run: needs a GPU -->
  ```sh
  fc7 serve --device cuda
  ```

<!-- first: fc7 head train garden photos/ -->
```python
print(1)
```
"""


def block(code: str, language: str = "sh") -> Block:
    return Block(Path("page.md"), 10, language, code, "a reason")


def test_blocks_have_their_line_their_language_and_what_stands_before_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    run, shown, skipped, prepared = read_blocks(page)
    assert (run.line, run.language, run.code, run.reason) == (4, "sh", "fc7 doctor\n", "")
    assert (shown.line, shown.language, shown.follows) == (8, "text", True)
    assert (skipped.line, skipped.code, skipped.reason) == (17, "fc7 serve --device cuda\n", "needs a GPU")
    assert (prepared.first, prepared.reason) == ("fc7 head train garden photos/", "")
    assert not skipped.follows


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("fc7 doctor\nfc7 doktor", "page.md:11: fc7 doktor: No such command"),
        ("fc7 search photos a.jpg --sheeet b.png", "page.md:10: .*No such option"),
        ("fc7 collection crate photos", "page.md:10: .*No such command"),
        ("fc7 search", "page.md:10: .*Missing argument"),
        ("cat list |\n  fc7 add photos - \\\n  --no-such", "page.md:11: .*No such option"),
        ("for i in 1 2; do fc7 doctor --no-such; done", "page.md:10: .*No such option"),
        ("FC7_DATA=x fc7 doctor --no-such", "page.md:10: .*No such option"),
        ("docker compose exec cpu fc7 doctor --no-such", "page.md:10: .*No such option"),
        ("python bench/missing.py data", "page.md:10: .*no such script"),
        ("make nothing", "page.md:10: .*no target nothing"),
        ("if true; then\n  make nothing\nfi", "page.md:11: .*no target nothing"),
    ],
)
def test_what_does_not_exist_is_named_with_its_line(code: str, wrong: str) -> None:
    with pytest.raises(AssertionError, match=wrong):
        check(block(code))


def test_python_that_is_no_python_is_named_with_its_page() -> None:
    with pytest.raises(AssertionError, match=r"page.md:10: invalid syntax"):
        check(block("a b\n", "python"))


@pytest.mark.parametrize(
    "code",
    [
        "fc7 --help\nfc7 collection --help\nfc7 search --help",
        "FC7_DATA=x fc7 doctor > out.txt 2> log.txt && fc7 health; fc7 model list # a comment",
        'printf "%s\\n" "two\nlines" | fc7 add photos - --id one',
        "make bench-train DATA=folder\npython -m fc7 doctor",
        "curl -s example.org | sh",
    ],
)
def test_what_exists_passes(code: str) -> None:
    check(block(code))


def test_commands_are_split_at_operators_and_keep_their_lines() -> None:
    found = list(commands(block("a 1 | b 2 && c\nd \\\n  3  # comment\n\ne 'x | y'\n")))
    assert found == [(10, ["a", "1"]), (10, ["b", "2"]), (10, ["c"]), (11, ["d", "3"]), (14, ["e", "x | y"])]


def test_only_blocks_of_nothing_but_plain_calls_run_in_this_process() -> None:
    assert plain_commands(block("fc7 doctor  # a comment\n\n# another\nfc7 search p 'a b'\n")) == [
        ["doctor"],
        ["search", "p", "a b"],
    ]
    for other in ("fc7 doctor > file", "cd x\nfc7 doctor", "fc7 add p $HOME", "fc7 add p *(x)", "export A=1"):
        assert plain_commands(block(f"{other}\n")) is None
