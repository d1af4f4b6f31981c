"""`fc7 model evaluate, probe, curve, inspect, quantize`: what a network has learnt, and its smaller form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from fc7.cli.options import bundle_option, check_one, ensemble_option, json_option, views_option
from fc7.cli.output import print_json, print_rows, print_text, progress_bar

_folder = click.argument("folder", type=click.Path(path_type=Path))
_splits = click.option("--splits", type=click.IntRange(min=1), default=3, show_default=True, help="Random divisions.")


def _output(what: str) -> Callable[[Any], Any]:
    return click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help=f"Folder for {what}.")


@click.command()
@_folder
@click.option("--model", "name", default="", metavar="M|BUNDLE", help="Shipped model, or folder of a bundle.")
@ensemble_option
@views_option
@_output("classes.csv and confusion.png; needs 'fc7[train]'")
@json_option
def evaluate(
    folder: Path, name: str, ensemble: tuple[str, ...], views: int, output: Path | None, as_json: bool
) -> None:
    """Tell how often a network is right about labelled pictures: the `val` of FOLDER, else all of it.

    The probabilities of several views, and of an ensemble of networks, are averaged.
    """
    check_one(name, ensemble)
    if not name and not ensemble:
        raise click.UsageError("say which network: --model, or --ensemble for several")
    from fc7_models.studies.evaluation import evaluate as run
    from fc7_models.studies.network_figures import prepare, write_evaluation

    if output:
        prepare(output)
    with progress_bar("evaluate", None, as_json=as_json) as advance:
        result = run(folder, name, advance, ensemble=ensemble, views=views)
    columns = ("top1", "top5", "count", "top1_all", "top5_all", "calibration_error")
    print_rows([{column: getattr(result, column) for column in columns}], as_json)
    if output:
        write_evaluation(result, output)


@click.command()
@_folder
@bundle_option
@_splits
@_output("probe.csv and probe.png")
@json_option
def probe(folder: Path, name: str, splits: int, output: Path | None, as_json: bool) -> None:
    """Train softmax regression and a linear SVM on each layer's features of the pictures in FOLDER.

    FOLDER holds one sub-folder a class. Needs 'fc7[train]'.
    """
    from fc7_models.studies.linear_probe import probe as run
    from fc7_models.studies.network_figures import prepare, write_probe

    if output:
        prepare(output)
    with progress_bar("probe", None, as_json=as_json) as advance:
        rows = run(folder, name, splits, advance)
    print_rows([asdict(row) for row in rows], as_json)
    if output:
        write_probe(rows, output)


@click.command()
@_folder
@bundle_option
@_splits
@_output("curve.csv and curve.png")
@json_option
def curve(folder: Path, name: str, splits: int, output: Path | None, as_json: bool) -> None:
    """Tell how accuracy grows with pictures a class, from features, from untrained ones and from pixels.

    FOLDER holds one sub-folder a class. Needs 'fc7[train]'.
    """
    from fc7_models.studies.learning_curve import UNTRAINED
    from fc7_models.studies.learning_curve import curve as run
    from fc7_models.studies.network_figures import prepare, write_curve

    if output:
        prepare(output)
    with progress_bar("curve", None, as_json=as_json) as advance:
        points = run(folder, name, splits, advance)
    print_rows([asdict(point) for point in points], as_json)
    if not any(point.features == UNTRAINED for point in points):
        print_text("fc7: no random initialisation: the network is not in fc7's own table", err=True)
    if output:
        write_curve(points, output)


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@bundle_option
@_output("layers.csv and filters.png")
@json_option
def inspect(folder: Path | None, name: str, output: Path | None, as_json: bool) -> None:
    """Show each layer's dead units, sparsity, norm and filter RMS on the pictures in FOLDER; draw the first filters.

    Without FOLDER: on the golden pictures of the bundle. Needs 'fc7[train]'.
    """
    from fc7_models.studies.inspection import inspect as run
    from fc7_models.studies.network_figures import prepare, write_inspection

    if output:
        prepare(output)
    with progress_bar("inspect", None, as_json=as_json) as advance:
        found = run(folder, name, advance)
    print_rows([asdict(layer) for layer in found.layers], as_json)
    if output:
        write_inspection(found, output)


@click.command()
@click.argument("name", metavar="M|BUNDLE")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder of the new bundle.")
@json_option
def quantize(name: str, folder: Path, output: Path, as_json: bool) -> None:
    """Copy a bundle with an int8 form beside: smaller and faster, with nearly the same features.

    Pictures of the `train` of FOLDER calibrate it, others of its `val` tell what it costs; the card
    keeps the figures. It is served as NAME.int8. Needs 'fc7[train]'.
    """
    from fc7_models.export.int8 import quantise_bundle

    with progress_bar("compare", None, as_json=as_json) as advance:
        found = quantise_bundle(name, folder, output, advance)
    print_rows([asdict(layer) for layer in found.layers], as_json)
    if not as_json:
        print_text("")
    print_rows([asdict(cost) for cost in found.costs], as_json)
    if as_json:
        print_json({"name": found.bundle.name, "bundle": str(output), "count": found.count})
    else:
        print_text(f"\nbundle {found.bundle.name} in {output}: serve it in int8 with fc7 serve --model {output}.int8")
