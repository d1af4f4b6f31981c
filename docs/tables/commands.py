"""The reference of the command: usage, help and options of every command, from click."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from fc7.cli import main
from fc7.cli.settings import Setting
from tables.markdown import code, prose, table

# Options of nearly every command: one table for all instead of a row in each.
SHARED = ("--server", "--data", "--token-file", "--tls-ca", "--tls-client", "--json")
COLUMNS = ("Option", "Default", "What it does")


def shared_options() -> str:
    """Return the options that most commands have."""
    command = main.get_command(click.Context(main), "classify")
    assert command is not None
    rows = [_row(option, command) for option in _options(command) if option.opts[0] in SHARED]
    return table(COLUMNS, rows)


def commands(*names: str) -> str:
    """Return the usage, the help and the options of the named commands; of a group, of each of its commands."""
    parts = []
    for name in names:
        command = main.get_command(click.Context(main), name)
        assert command is not None, name
        parts += [_describe(path, one) for path, one in _leaves(f"fc7 {name}", command)]
    return "\n\n".join(parts)


def _leaves(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, one in command.commands.items():
        yield from _leaves(f"{path} {name}", one)


def _describe(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    own = [option for option in _options(command) if _is_own(option, path)]
    shared = [code(option.opts[0]) for option in _options(command) if option not in own]
    parts = [f"#### {path}", f"```text\n{usage}\n```", prose(inspect.cleandoc(command.help or "").replace("\b\n", ""))]
    if own:
        parts.append(table(COLUMNS, [_row(option, command) for option in own]))
    if shared:
        parts.append(f"Also {', '.join(shared)}: see [options of most commands](#options-of-most-commands).")
    return "\n\n".join(parts)


def _options(command: click.Command) -> list[click.Option]:
    return [option for option in command.params if isinstance(option, click.Option) and not option.hidden]


def _is_own(option: click.Option, path: str) -> bool:
    return option.opts[0] not in SHARED or (isinstance(option, Setting) and path == "fc7 serve")


def _row(option: click.Option, command: click.Command) -> tuple[str, str, str]:
    context = click.Context(command)
    names = ", ".join(code(name) for name in (*option.opts, *option.secondary_opts))
    if not option.is_flag:
        names += f" {_value(option, context)}"
    text = prose(option.help or "")
    if option.multiple and "Repeatable" not in text:
        text += " Repeatable."
    if option.envvar:
        text += f" Variable: `{option.envvar}`."
    return (names, _default(option, context), text)


def _value(option: click.Option, context: click.Context) -> str:
    """Return the word for an option's value; a number with its least and its largest."""
    kind = option.type
    if option.metavar or not isinstance(kind, click.IntRange | click.FloatRange):
        return option.make_metavar(context)
    least = f" from {kind.min:g}" if kind.min is not None else ""
    is_large = kind.max is not None and kind.max >= 2**31 - 1  # what a message can hold says nothing to a reader
    return "NUMBER" + least + (f" to {kind.max:g}" if kind.max is not None and not is_large else "")


def _default(option: click.Option, context: click.Context) -> str:
    if option.required:
        return "required"
    default = option.to_info_dict()["default"]
    if option.is_flag or default in (None, "", ()):
        return ""
    return code(str(default() if callable(default) else default))
