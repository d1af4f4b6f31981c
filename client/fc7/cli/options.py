"""Options for the network, for more than one of them, and for more than one view of an image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from fc7.cli.folder_scan import FolderScan
from fc7.cli.settings import read_engine_settings

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
yes_option = click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")
positive = click.IntRange(1, 2**31 - 1)  # what a message to the server can hold


def _first_set(context: click.Context, option: click.Parameter, value: str) -> str:
    return value or next(iter(read_engine_settings()["models"]), "")


bundle_option = click.option(
    "--model",
    "name",
    default="",
    metavar="M|BUNDLE",
    callback=_first_set,
    help="Shipped model, or folder of a bundle. Defaults to the first of FC7_MODELS, otherwise the first shipped one.",
)

model_option = click.option(
    "--model", default="", metavar="NAME|BUNDLE", help="Model, or folder of a bundle. Defaults to the server's first."
)

views_option = click.option(
    "--views",
    type=click.Choice([1, 10]),
    default=1,
    show_default=True,
    help="10: the mean over four corners and centre, each also mirrored.",
)


def _names(context: click.Context, option: click.Parameter, value: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(",")) if value else ()
    if names and (len(names) < 2 or "" in names):
        raise click.BadParameter(f"{value!r} names no two models: give two at least, separated by commas")
    return names


ensemble_option = click.option(
    "--ensemble", metavar="A,B,...", default="", callback=_names, help="Two models or more in place of --model."
)


def check_one(name: str, ensemble: tuple[str, ...]) -> None:
    """Refuse a model beside an ensemble.

    Raises
    ------
    click.UsageError
        Both were given.
    """
    if name and ensemble:
        raise click.UsageError("--model goes without --ensemble: name every model there")


def exclude_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option --exclude; hand on a ``scan``."""
    option = click.option(
        "--exclude",
        "scan",
        multiple=True,
        metavar="PATTERN",
        callback=lambda context, option, patterns: FolderScan(patterns),
        help="Pass over files and folders of this name, such as '*_small.jpg' or thumbs.",
    )
    return option(command)
