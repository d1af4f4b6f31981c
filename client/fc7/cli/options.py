"""Arguments and options that several commands share, and the example in a command's help."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from fc7.cli.folder_scan import FolderScan
from fc7.cli.settings import read_engine_settings

C = TypeVar("C", bound=click.Command)
Decorator = Callable[[Any], Any]

path_type = click.Path(path_type=Path)
file_type = click.Path(path_type=Path, dir_okay=False)
positive = click.IntRange(1, 2**31 - 1)  # the largest number that a message to the server can hold


def example(line: str) -> Callable[[C], C]:
    """Show a command line in the command's help, after the first sentence."""

    def add(command: C) -> C:
        sentence, _, rest = inspect.cleandoc(command.help or "").partition("\n\n")
        command.help = f"{sentence}\n\n\b\n    {line}\n\n{rest}".rstrip()  # \b: click leaves the paragraph as it is
        return command

    return add


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
yes_option = click.option("--yes", "is_sure", is_flag=True, help="Do not ask for confirmation.")
where_option = click.option(
    "--where",
    metavar="FILTER",
    help='Take only items whose payload matches, such as \'label in ("cat", "dog") and year >= 2020\'.',
)
exclude_option = click.option(
    "--exclude",
    "scan",
    multiple=True,
    metavar="PATTERN",
    callback=lambda context, option, patterns: FolderScan(patterns),
    help="Leave out files and folders whose name matches, such as '*_small.jpg' or thumbs. A pattern with / is "
    "compared with the whole path below PATH. Repeatable.",
)


def _first_of_settings(context: click.Context, option: click.Parameter, value: str) -> str:
    return value or next(iter(read_engine_settings()["models"]), "")


def _split_names(context: click.Context, option: click.Parameter, value: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(",")) if value else ()
    if names and (len(names) < 2 or "" in names):
        raise click.BadParameter(f"{value!r} does not name two models. Give at least two, separated by commas: A,B")
    return names


model_option = click.option(
    "--model",
    default="",
    metavar="NAME|BUNDLE",
    help="Model to use: its name, or the folder of a bundle. Defaults to the server's first model.",
)
bundle_option = click.option(
    "--model",
    "name",
    default="",
    metavar="NAME|BUNDLE",
    callback=_first_of_settings,
    help="Shipped model to use, or the folder of a bundle. Defaults to the first of FC7_MODELS, otherwise to the first "
    "shipped model.",
)
ensemble_option = click.option(
    "--ensemble",
    metavar="A,B,...",
    default="",
    callback=_split_names,
    help="Use two or more models together, instead of --model.",
)
views_option = click.option(
    "--views",
    type=click.Choice([1, 10]),
    default=1,
    show_default=True,
    help="Views of each image. 10 takes the four corners and the centre, each also mirrored, and averages them.",
)


def check_one_model(name: str, ensemble: tuple[str, ...]) -> None:
    """Refuse a model beside an ensemble.

    Raises
    ------
    click.UsageError
        Both were given.
    """
    if name and ensemble:
        raise click.UsageError("--model and --ensemble exclude each other. Name every model in --ensemble")


layer_option = click.option(
    "--layer", default="", help="Layer whose features to use. Defaults to the model's default layer."
)
unit_layer_option = click.option("--layer", default="conv5", show_default=True, help="Layer that the units belong to.")
head_option = click.option("--head", default="", help="Published head to use. Defaults to the network's own classes.")
version_option = click.option("--version", type=positive, help="Version of the head. Defaults to the newest.")


folder_argument = click.argument("folder", type=path_type)
bundle_name_option = click.option("--name", help="Name of the new model. Defaults to the name of its folder.")


def bundle_output_option(default: str = "") -> Decorator:
    """Return the option for the folder of a new bundle; without a default it is required."""
    text = f"Folder to write the bundle to. Defaults to {default}." if default else "Folder to write the bundle to."
    return click.option("--output", required=not default, type=path_type, metavar="DIR", help=text)


def report_option(contents: str) -> Decorator:
    """Return the option for the folder of a study's tables and drawings."""
    return click.option("--output", type=path_type, metavar="DIR", help=f"Folder to write {contents} to.")


class_option = click.option(
    "--class", "label", default="", metavar="LABEL", help="Class to explain. Defaults to the most probable class."
)
rule_option = click.option(
    "--rule",
    type=click.Choice(["deconv", "gradient", "guided"]),
    default="deconv",
    show_default=True,
    help="How to project a unit to pixels: by the deconvnet, the gradient or guided backpropagation.",
)
explanation_option = click.option(
    "--output",
    type=file_type,
    metavar="FILE",
    help="File to write: a drawing (.png, .jpg, ...) or the arrays (.npz).",
)


def strongest_option(default: int) -> Decorator:
    """Return the option for the number of units to project."""
    return click.option(
        "--strongest",
        type=click.IntRange(1, 64),
        default=default,
        show_default=True,
        help="Number of units to project, starting with those that contribute most.",
    )
