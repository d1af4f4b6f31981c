"""docs/reference/configuration.md against the settings and the options of the command."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

import click
import pytest

from fc7.cli import main
from fc7.cli.settings import Setting
from fc7_service.settings import Settings

TEXT = (Path(__file__).parents[2] / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
NAME_OF_OPTION = {"is_insecure": "insecure"}  # where the option is called otherwise than the field
COLUMNS = 7


def read_table(heading: str) -> dict[str, list[str]]:
    """The rows below a heading: the setting -> flag, variable, key, default, unit, reason."""
    section = re.split(r"^## ", TEXT, flags=re.MULTILINE)
    text = next(part for part in section if part.startswith(heading))
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")
    ]
    assert all(len(row) == COLUMNS for row in rows)
    return {row[0].strip("`"): row[1:] for row in rows}


def options(command: str) -> dict[str, click.Option]:
    found = main.get_command(click.Context(main), command)
    assert found is not None
    return {str(parameter.name): parameter for parameter in found.params if isinstance(parameter, Setting)}


def check_row(name: str, row: list[str], option: click.Option | None) -> None:
    flag, variable, key, default, unit, reason = row
    assert default, f"{name} has no default"
    assert unit, f"{name} has no unit"
    assert reason, f"{name} has no reason"
    if option is None:
        assert (flag, variable, key) == ("none", "none", "none")
        return
    assert re.findall(r"`(.+?)`", flag) == option.opts
    assert re.findall(r"`(.+?)`", variable) == [option.envvar]
    assert re.findall(r"`(.+?)`", key) == [option.name]


def test_every_setting_of_the_server_has_its_row():
    table, serve = read_table("Server"), options("serve")
    assert list(table) == [field.name for field in dataclasses.fields(Settings)]
    for name, row in table.items():
        check_row(name, row, serve.pop(NAME_OF_OPTION.get(name, name), None))
    assert not serve, "options of `fc7 serve` that no setting has"


def test_every_setting_of_the_client_has_its_row():
    table, client = read_table("Client"), options("health")
    assert table.keys() == client.keys()
    for name, row in table.items():
        check_row(name, row, client[name])


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda field: field.name)
def test_plain_defaults_are_those_of_the_code(field):
    default = read_table("Server")[field.name][3]
    if isinstance(field.default, bool):
        assert default == str(field.default).lower()
    elif isinstance(field.default, str | float):
        assert default.strip("`") == str(field.default)
    elif field.default is None:
        assert default.startswith("none")
    else:
        assert default, "a default in words"


def test_the_example_is_a_file_that_the_command_takes(tmp_path, monkeypatch):
    example = TEXT.partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "fc7.toml").write_text(example)
    monkeypatch.chdir(tmp_path)
    command = main.get_command(click.Context(main), "serve")
    assert command is not None
    values = command.make_context("serve", []).params
    for name, value in tomllib.loads(example).items():
        assert str(values[name]) == str(tuple(value) if isinstance(value, list) else value)
