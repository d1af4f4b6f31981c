"""Options that a variable or `fc7.toml` may give too, and the way to a server made of four of them."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from fc7 import Client

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


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a command's server is."""

    server: str | None
    data: Path | None
    token_file: Path | None
    tls_ca: Path | None

    def open(self) -> Client:
        """Connect, or start the server in this process."""
        import fc7

        return fc7.connect(self.server, data=self.data, token_file=self.token_file, tls_ca=self.tls_ca)


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Add the four options of a connection; hand them on as ``connection``."""

    @setting("--server", metavar="HOST:PORT", help="Talk to this server; without: one in this process.")
    @setting("--data", type=click.Path(path_type=Path, file_okay=False), help="Data folder, without a server.")
    @setting("--token-file", type=click.Path(path_type=Path), help="File with the token to send.")
    @setting("--tls-ca", type=click.Path(path_type=Path), help="PEM file of the authority that the server must prove.")
    @functools.wraps(command)
    def call(
        server: str | None, data: Path | None, token_file: Path | None, tls_ca: Path | None, **kwargs: Any
    ) -> None:
        source = click.get_current_context().get_parameter_source
        if source("data") is ParameterSource.COMMANDLINE:  # then it is meant, whatever server the shell names
            if source("server") is ParameterSource.COMMANDLINE:
                raise click.UsageError("--data is for a server in this process: give it or --server")
            server = None
        command(connection=Connection(server, data, token_file, tls_ca), **kwargs)

    return call
