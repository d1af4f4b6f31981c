"""`fc7 model evaluate, probe, curve, inspect, quantize`: what a network has learnt, and its int8 form."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from fc7.cli.options import (
    bundle_option,
    bundle_output_option,
    check_one_model,
    ensemble_option,
    example,
    folder_argument,
    json_option,
    path_type,
    report_option,
    views_option,
)
from fc7.cli.output import print_json, print_rows, print_text, progress_bar

_splits_option = click.option(
    "--splits",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Number of random divisions into training and test pictures, whose results are averaged.",
)


@example("fc7 model evaluate imagenet --model alexnet-64")
@click.command()
@folder_argument
@click.option(
    "--model",
    "name",
    default="",
    metavar="NAME|BUNDLE",
    help="Shipped model to evaluate, or the folder of a bundle. Required unless --ensemble is given.",
)
@ensemble_option
@views_option
@report_option("classes.csv and confusion.png (with 'fc7[train]')")
@json_option
def evaluate(
    folder: Path, name: str, ensemble: tuple[str, ...], views: int, output: Path | None, as_json: bool
) -> None:
    """Measure how often a network is right about labelled pictures.

    FOLDER holds one sub-folder per class, named by the class id, or a data set, of which val/ is
    used. Several views and several models each give probabilities, which are averaged. No server
    is needed.

    Prints the accuracies top-1 and top-5 among the classes in FOLDER, the same among all classes
    of the network, and the calibration error.
    """
    check_one_model(name, ensemble)
    if not name and not ensemble:
        raise click.UsageError("say which network to evaluate, with --model or --ensemble")
    from fc7_models.studies.evaluation import evaluate as run
    from fc7_models.studies.figure import prepare_output
    from fc7_models.studies.network_figures import write_evaluation

    if output:
        prepare_output(output)
    with progress_bar("evaluate", None, as_json=as_json) as advance:
        result = run(folder, name, advance, ensemble=ensemble, views=views)
    columns = ("top1", "top5", "count", "top1_all", "top5_all", "calibration_error")
    print_rows([{column: getattr(result, column) for column in columns}], as_json)
    if output:
        write_evaluation(result, output)


@example("fc7 model probe photos")
@click.command()
@folder_argument
@bundle_option
@_splits_option
@report_option("probe.csv and probe.png")
@json_option
def probe(folder: Path, name: str, splits: int, output: Path | None, as_json: bool) -> None:
    """Measure which layer tells classes apart best.

    FOLDER holds one sub-folder per class. Softmax regression and a linear SVM are trained on the
    features of each layer. Needs 'fc7[train]', but no server.
    """
    from fc7_models.studies.figure import prepare_output
    from fc7_models.studies.linear_probe import probe_layers as run
    from fc7_models.studies.network_figures import write_probe

    if output:
        prepare_output(output)
    with progress_bar("probe", None, as_json=as_json) as advance:
        rows = run(folder, name, splits, advance)
    print_rows([asdict(row) for row in rows], as_json)
    if output:
        write_probe(rows, output)


@example("fc7 model curve photos")
@click.command()
@folder_argument
@bundle_option
@_splits_option
@report_option("curve.csv and curve.png")
@json_option
def curve(folder: Path, name: str, splits: int, output: Path | None, as_json: bool) -> None:
    """Measure how accuracy grows with pictures per class.

    FOLDER holds one sub-folder per class. Softmax regression is trained on the features of the
    network, on those of the same network before any training, and on pixels. Needs 'fc7[train]',
    but no server.
    """
    from fc7_models.studies.figure import prepare_output
    from fc7_models.studies.learning_curve import UNTRAINED
    from fc7_models.studies.learning_curve import measure_learning_curve as run
    from fc7_models.studies.network_figures import write_curve

    if output:
        prepare_output(output)
    with progress_bar("curve", None, as_json=as_json) as advance:
        points = run(folder, name, splits, advance)
    print_rows([asdict(point) for point in points], as_json)
    if not any(point.features == UNTRAINED for point in points):
        print_text("fc7: the untrained network is left out, because fc7 cannot build this architecture", err=True)
    if output:
        write_curve(points, output)


@example("fc7 model inspect photos --model alexnet-64")
@click.command()
@click.argument("folder", required=False, type=path_type)
@bundle_option
@report_option("layers.csv and filters.png")
@json_option
def inspect(folder: Path | None, name: str, output: Path | None, as_json: bool) -> None:
    """Show dead units, sparsity, norms and filters of each layer.

    The network sees the pictures in FOLDER, or by default the few golden pictures of its bundle.
    With --output, the filters of the first layer are drawn too. Needs 'fc7[train]', but no server.
    """
    from fc7_models.studies.figure import prepare_output
    from fc7_models.studies.inspection import inspect_network as run
    from fc7_models.studies.network_figures import write_inspection

    if output:
        prepare_output(output)
    with progress_bar("inspect", None, as_json=as_json) as advance:
        found = run(folder, name, advance)
    print_rows([asdict(layer) for layer in found.layers], as_json)
    if output:
        write_inspection(found, output)


@example("fc7 model quantize alexnet-64 imagenet --output alexnet-int8")
@click.command()
@click.argument("name", metavar="NAME|BUNDLE")
@folder_argument
@bundle_output_option()
@json_option
def quantize(name: str, folder: Path, output: Path, as_json: bool) -> None:
    """Add an int8 form to a copy of a bundle.

    The int8 form is smaller and faster, with nearly the same features.

    FOLDER holds train/ and val/. Pictures from train/ calibrate the int8 form, and pictures from
    val/ measure what it costs. The model card keeps the figures. Needs 'fc7[train]', but no
    server.
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
        print_text(
            f"\nwrote bundle {found.bundle.name} to {output}. Serve its int8 form with: fc7 serve --model {output}.int8"
        )
