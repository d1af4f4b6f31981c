"""Settings: those of the server from its table, those of the client from the options of the command."""

from __future__ import annotations

import click

from fc7.cli import main
from fc7.cli.settings import Setting
from fc7_service.settings import describe_settings
from tables.markdown import code, prose, table

COLUMNS = ("Setting", "Flag", "Variable", "`fc7.toml`", "Default", "Unit", "What it does")
NAME_OF_OPTION = {"is_insecure": "insecure"}  # where the option is called otherwise than the field
CLIENT_UNITS = {
    "server": "HOST:PORT",
    "data": "folder",
    "token_file": "file",
    "tls_ca": "PEM file",
    "tls_client": "PEM file",
}
CLIENT_DEFAULTS = {"server": "none: a server in this process", "data": "your data directory (`fc7 doctor` names it)"}


def of_server() -> str:
    """Return a row for each setting of the server."""
    options, rows = _options("serve"), []
    for name, about in describe_settings().items():
        option = options.pop(NAME_OF_OPTION.get(name, name), None)
        rows.append((code(name), *_ways(option), about.default, about.unit, about.meaning))
    assert not options, f"options of `fc7 serve` that no setting has: {', '.join(options)}"
    return table(COLUMNS, rows)


def of_client() -> str:
    """Return a row for each setting of a command that talks to a server."""
    return table(
        COLUMNS,
        [
            (
                code(name),
                *_ways(option),
                CLIENT_DEFAULTS.get(name, "none"),
                CLIENT_UNITS[name],
                prose(option.help or ""),
            )
            for name, option in _options("health").items()
        ],
    )


def _options(command: str) -> dict[str, click.Option]:
    found = main.get_command(click.Context(main), command)
    assert found is not None
    return {str(option.name): option for option in found.params if isinstance(option, Setting)}


def _ways(option: click.Option | None) -> tuple[str, str, str]:
    """Return the flag, the variable and the key of a setting."""
    if option is None:
        return ("none", "none", "none")
    flag, variable, key = code(option.opts[0]), code(str(option.envvar)), code(str(option.name))
    if option.multiple:
        return (f"{flag}, repeatable", f"{variable}, separated by spaces", f"{key}, a list")
    return (flag, variable, key)
