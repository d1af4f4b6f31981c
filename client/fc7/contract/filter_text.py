"""Filters as text, for people: ``label in ("cat", "dog") and year >= 2020``.

filter      = all { "or" all }
all         = one { "and" one }
one         = "not" one | "(" filter ")" | comparison
comparison  = field ( "exists" | sign value | ["not"] "in" "(" value { "," value } ")"
            | "between" value "and" value | "prefix" value | "contains" value )
sign        = "=" | "!=" | "<" | "<=" | ">" | ">="
value       = "text" | 'text' | number | "true" | "false" | "date" "text"
field       = key { "." key }, in `backquotes` where it is a keyword or has other characters than letters, digits,
              "_" and "-"
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple, NoReturn

from fc7.contract.filter import (
    DEEPEST,
    And,
    Comparison,
    Filter,
    Not,
    Or,
    check_size,
    invalid_filter,
    read_date,
    too_deep,
)
from fc7.errors import InvalidArgument

_LONGEST = 64 * 2**10  # characters
_SIGNS = ("=", "!=", "<", "<=", ">", ">=")
_KEYWORDS = ("and", "or", "not", "in", "between", "prefix", "contains", "exists", "true", "false", "date")
_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<text>"(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*')
      | (?P<backquoted>`(?:[^`]|``)+`)
      | (?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![\w.])
      | (?P<sign><=|>=|!=|==|=|<|>|\(|\)|,)
      | (?P<word>[^\W\d][\w-]*(?:\.[\w-]+)*)""",
    re.VERBOSE | re.DOTALL,
)
_WORD = re.compile(r"[^\W\d][\w-]*(?:\.[\w-]+)*")


class _Token(NamedTuple):
    kind: str  # a name of a group of _TOKEN, "keyword", or "end"
    text: str
    start: int


def parse(text: str) -> Filter:
    """Return the filter that text stands for.

    Raises
    ------
    InvalidArgument
        It cannot be read. The message names the place.
    """
    if len(text) > _LONGEST:
        raise invalid_filter(f"The filter has {len(text)} characters, but the limit is {_LONGEST}. Split it")
    parser = _Parser(text)
    tree = parser.read_filter(0)
    if parser.next.kind != "end":
        parser.fail("and, or, or the end")
    check_size(tree)
    return tree


def write_text(tree: Filter) -> str:
    """Return the text of a filter, which `parse` reads as the same filter."""
    if isinstance(tree, Or):
        return " or ".join(write_text(part) for part in tree.parts)
    if isinstance(tree, And):
        return " and ".join(_in_brackets(part, Or) for part in tree.parts)
    if isinstance(tree, Not):
        return f"not {_in_brackets(tree.part, And | Or)}"
    assert isinstance(tree, Comparison)
    is_plain = _WORD.fullmatch(tree.field) and tree.field.lower() not in _KEYWORDS
    field = tree.field if is_plain else "`" + tree.field.replace("`", "``") + "`"
    match tree.operator:
        case "exists":
            return f"{field} exists"
        case "in":
            return f"{field} in ({', '.join(map(_write_value, tree.value))})"
        case "between":
            return f"{field} between {_write_value(tree.value[0])} and {_write_value(tree.value[1])}"
    return f"{field} {tree.operator} {_write_value(tree.value)}"


class _Parser:
    """Reads a filter token by token."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split()
        self.next = next(self._tokens)

    def read_filter(self, depth: int) -> Filter:
        """Read filters with "or" between them."""
        if depth > DEEPEST:
            raise too_deep()
        return self._read_group("or", Or, lambda: self._read_group("and", And, lambda: self._read_one(depth)))

    def fail(self, expected: str) -> NoReturn:
        """Refuse the next token."""
        found = "the end" if self.next.kind == "end" else repr(self._text[self.next.start :][:24])
        raise invalid_filter(
            f"The filter cannot be read at character {self.next.start + 1}: expected {expected} (got {found})"
        )

    def _read_group(self, keyword: str, kind: type[And] | type[Or], read: Callable[[], Filter]) -> Filter:
        parts = [read()]
        while self._takes(keyword):
            parts.append(read())
        return parts[0] if len(parts) == 1 else kind(tuple(parts))

    def _read_one(self, depth: int) -> Filter:
        if self._takes("not"):
            if depth > DEEPEST:
                raise invalid_filter(
                    f"The filter is nested more than {DEEPEST} levels deep. Write it with fewer levels"
                )
            return Not(self._read_one(depth + 1))
        if self._takes("("):
            tree = self.read_filter(depth + 1)
            self._expect(")", "and, or, or )")
            return tree
        return self._read_comparison()

    def _read_comparison(self) -> Filter:
        start = self.next.start
        if self.next.kind == "backquoted":
            field = self._advance().text[1:-1].replace("``", "`")
        elif self.next.kind == "word":
            field = self._advance().text
        else:
            self.fail("the name of a field, not, or (")
        try:
            if self._takes("not"):
                self._expect("in", "in")
                return Not(Comparison(field, "in", self._read_list()))
            return self._read_operator(field)
        except InvalidArgument as error:
            if "at character" in error.message:
                raise
            raise invalid_filter(f"The filter is wrong at character {start + 1}: {error.message}") from error

    def _read_operator(self, field: str) -> Comparison:
        operator = self.next.text.lower()
        if self.next.kind == "sign" and (operator in _SIGNS or operator == "=="):
            self._advance()
            return Comparison(field, "=" if operator == "==" else operator, self._read_value())
        if self.next.kind != "keyword" or operator not in ("exists", "in", "between", "prefix", "contains"):
            self.fail("one of = != < <= > >= in between prefix contains exists")
        self._advance()
        if operator == "exists":
            return Comparison(field, operator)
        if operator == "in":
            return Comparison(field, operator, self._read_list())
        if operator == "between":
            low = self._read_value()
            self._expect("and", "and")
            return Comparison(field, operator, (low, self._read_value()))
        return Comparison(field, operator, self._read_value())

    def _read_list(self) -> tuple[Any, ...]:
        self._expect("(", "(")
        values = [self._read_value()]
        while self._takes(","):
            values.append(self._read_value())
        self._expect(")", "a comma or )")
        return tuple(values)

    def _read_value(self) -> Any:
        if self._takes("true"):
            return True
        if self._takes("false"):
            return False
        if self.next.kind == "number":
            return _read_number(self._advance().text)
        if self._takes("date"):
            read = read_date(self._unquoted()) if self.next.kind == "text" else None
            if read is None:
                self.fail('a date in quotes, such as "2020-05-01"')
            self._advance()
            return read
        if self.next.kind != "text":
            self.fail("text in quotes, a number, true, false or a date")
        value = self._unquoted()
        self._advance()
        return value

    def _unquoted(self) -> str:
        quoted = self.next.text
        if quoted[0] == "'":
            body = re.sub(r'\\.|"', lambda found: {"\\'": "'", '"': '\\"'}.get(found[0], found[0]), quoted[1:-1])
            quoted = f'"{body}"'
        try:
            return str(json.loads(quoted, strict=False))
        except ValueError:
            self.fail('text whose backslashes are those of JSON, such as \\" or \\n')

    def _advance(self) -> _Token:
        token, self.next = self.next, next(self._tokens)
        return token

    def _takes(self, text: str) -> bool:
        is_next = self.next.kind in ("keyword", "sign") and self.next.text.lower() == text
        if is_next:
            self._advance()
        return is_next

    def _expect(self, text: str, expected: str) -> None:
        if not self._takes(text):
            self.fail(expected)

    def _split(self) -> Iterator[_Token]:
        at = 0
        while at < len(self._text):
            found = _TOKEN.match(self._text, at)
            if found is None:
                self.next = _Token("unknown", self._text[at], at)
                self.fail('a field, a value, a sign or a bracket. Text needs quotes, such as "cat"')
            kind, text, at = str(found.lastgroup), found[0], found.end()
            if kind == "word" and text.lower() in _KEYWORDS:
                kind = "keyword"
            if kind != "space":
                yield _Token(kind, text, found.start())
        yield _Token("end", "", len(self._text))


def _read_number(text: str) -> int | float:
    is_whole = text.lstrip("-").isdigit()
    try:
        return int(text) if is_whole else float(text)
    except ValueError as error:  # Python reads whole numbers of up to 4300 digits
        raise invalid_filter(f"The number {text[:40]} is too long") from error


def _in_brackets(part: Filter, kinds: Any) -> str:
    return f"({write_text(part)})" if isinstance(part, kinds) else write_text(part)


def _write_value(value: Any) -> str:
    if isinstance(value, datetime):
        return f'date "{value.isoformat()}"'
    return json.dumps(value, ensure_ascii=False)
