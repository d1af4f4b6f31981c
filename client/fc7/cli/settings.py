"""Settings: options that an `FC7_*` variable or `fc7.toml` may also set."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

FILE = Path("fc7.toml")  # in the working directory, flat keys
NAMES: dict[str, type] = {  # setting -> its type in the file
    "server": str,
    "data": str,
    "token_file": str,
    "tls_ca": str,
    "tls_client": str,
    "listen": str,
    "models": list,  # of strings
    "device": str,
    "threads": int,
    "tls_cert": str,
    "tls_key": str,
    "tls_client_ca": str,
    "insecure": bool,
    "metrics": str,
    "traces": str,
    "http": str,
    "http_hosts": list,
    "http_origins": list,
    "pictures": list,
    "recall_queries": int,
}
_EXPECTED = {str: "a string", list: "a list of strings", int: "a whole number", bool: "true or false"}


class Setting(click.Option):
    """An option that takes its value from the first of: the flag, ``FC7_NAME``, ``name`` in `fc7.toml`, the default."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        assert self.name in NAMES, self.name
        self.show_envvar = True
        self.envvar = f"FC7_{self.name.upper()}"

    def get_default(self, ctx: click.Context, call: bool = True) -> Any:
        """Return the value in the file, otherwise the built-in default."""
        value = read_file().get(self.name)
        return super().get_default(ctx, call) if value is None else value


setting = functools.partial(click.option, cls=Setting)


def engine_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the engine that runs the networks: ``models``, ``device``, ``threads``."""
    options = (
        setting(
            "--model",
            "models",
            multiple=True,
            metavar="NAME|BUNDLE",
            help="Model to serve: its name, or the folder of a bundle. Repeatable; the first one is the default. "
            "Defaults to every shipped model.",
        ),
        setting(
            "--device",
            type=click.Choice(["auto", "cpu", "cuda"]),
            default="auto",
            show_default=True,
            help="Where networks run. auto takes a GPU if there is one.",
        ),
        setting("--threads", type=click.IntRange(1, 1024), help="Threads for networks. Defaults to one per core."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@engine_settings
def _engine(**values: Any) -> None:
    """Hold the engine's settings; this command is only read, never run."""


def read_engine_settings() -> dict[str, Any]:
    """Return the engine's settings for a command that has no options for them, from variables and `fc7.toml`.

    Raises
    ------
    click.UsageError
        The value of a variable or of the file breaks its rule.
    """
    context = click.get_current_context()
    return _engine.make_context(context.info_name, [], parent=context.parent).params


def read_file() -> dict[str, Any]:
    """Return the values in `fc7.toml`; empty if there is no such file.

    Raises
    ------
    click.UsageError
        The file is not TOML, has an unknown key, or has a value of the wrong type.
    """
    try:
        values = tomllib.loads(FILE.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{FILE}: {error}") from error
    for name, value in values.items():
        if name not in NAMES:
            raise click.UsageError(f"{FILE}: there is no setting {name!r}. Settings are: {', '.join(NAMES)}")
        if not _has_type(NAMES[name], value):
            raise click.UsageError(f"{FILE}: {name} must be {_EXPECTED[NAMES[name]]} (got {value!r})")
    return values


def _has_type(kind: type, value: Any) -> bool:
    if kind is list:
        return isinstance(value, list) and all(isinstance(text, str) for text in value)
    return type(value) is kind  # not isinstance: True is an int too
