"""Options that a variable or `fc7.toml` may give too, and the way to a server made of them."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    pass

FILE = Path("fc7.toml")  # in the working directory, flat keys
NAMES: dict[str, type] = {  # and what each is in the file
    "server": str,
    "data": str,
    "token_file": str,
    "tls_ca": str,
    "listen": str,
    "models": list,  # of strings
    "device": str,
    "threads": int,
    "tls_cert": str,
    "tls_key": str,
    "insecure": bool,
}
_EXPECTED = {str: "a string", list: "a list of strings", int: "a whole number", bool: "true or false"}


class Setting(click.Option):
    """An option whose value is flag > ``FC7_NAME`` > ``name`` in `fc7.toml` > default."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        assert self.name in NAMES, self.name
        self.show_envvar = True
        self.envvar = f"FC7_{self.name.upper()}"

    def get_default(self, ctx: click.Context, call: bool = True) -> Any:
        """Return the file's value, else the built-in one."""
        value = read_file().get(self.name)
        return super().get_default(ctx, call) if value is None else value


setting = functools.partial(click.option, cls=Setting)

# Of `fc7 serve`; a command without a server takes them too, from a variable or the file.
_ENGINE: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "models": (
        ("--model", "models"),
        {"multiple": True, "metavar": "NAME|BUNDLE", "help": "Model to serve, default first; repeatable."},
    ),
    "device": (
        ("--device",),
        {"type": click.Choice(["auto", "cpu", "cuda"]), "default": "auto", "show_default": True, "help": "Engine."},
    ),
    "threads": (
        ("--threads",),
        {"type": click.IntRange(1, 1024), "help": "Threads of the engine. Defaults to one per core."},
    ),
}


def engine_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the engine: ``models``, ``device``, ``threads``."""
    for names, attributes in reversed(_ENGINE.values()):
        command = setting(*names, **attributes)(command)
    return command


def read_engine_settings() -> dict[str, Any]:
    """Return the settings of the engine for a command that has no flag for them.

    Raises
    ------
    click.UsageError
        The variable's or the file's value breaks its rule.
    """
    context = click.get_current_context()
    options: list[click.Parameter] = [Setting(names, **attributes) for names, attributes in _ENGINE.values()]
    command = click.Command(context.info_name, params=options)
    return command.make_context(context.info_name, [], parent=context.parent).params


def read_file() -> dict[str, Any]:
    """Return the keys of `fc7.toml`; none where there is no such file.

    Raises
    ------
    click.UsageError
        It is not TOML, has a key that no setting bears, or a value of another type.
    """
    try:
        values = tomllib.loads(FILE.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{FILE}: {error}") from error
    for name, value in values.items():
        if name not in NAMES:
            raise click.UsageError(f"{FILE}: no setting is named {name!r}: known are {', '.join(NAMES)}")
        if not _is_of(NAMES[name], value):
            raise click.UsageError(f"{FILE}: {name} is {value!r}: {_EXPECTED[NAMES[name]]} is expected")
    return values


def _is_of(kind: type, value: Any) -> bool:
    if kind is list:
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    return type(value) is kind  # true is no whole number
