"""`fc7 explain invariance, correspondence, evolution, check`: what networks see, and how far to trust explanations."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from fc7.cli.options import (
    Decorator,
    bundle_option,
    example,
    folder_argument,
    json_option,
    path_type,
    report_option,
)
from fc7.cli.output import print_rows, print_text, progress_bar


def _count_option(default: int) -> Decorator:
    text = "Number of pictures to use, spread evenly over their sorted names."
    return click.option("--count", type=click.IntRange(min=1), default=default, show_default=True, help=text)


@example("fc7 explain invariance holiday --output study")
@click.command()
@folder_argument
@bundle_option
@_count_option(5)
@report_option("invariance.csv and invariance.png")
@json_option
def invariance(folder: Path, name: str, count: int, output: Path | None, as_json: bool) -> None:
    """Measure what shifting, enlarging and turning changes.

    The pictures in FOLDER, at any depth, are shifted, enlarged and turned, and their features and
    class probabilities are compared with those of the unchanged pictures (Zeiler & Fergus 2013,
    figure 5). Prints means over the pictures; distances are relative to the length of the
    unchanged picture's feature. Needs 'fc7[train]', but no server.
    """
    from fc7_models.studies.explanation_figures import write_invariance
    from fc7_models.studies.figure import prepare_output
    from fc7_models.studies.invariance import mean_curves
    from fc7_models.studies.invariance import measure_invariance as run

    if output:
        prepare_output(output)
    with progress_bar("invariance", None, as_json=as_json) as advance:
        curves = run(folder, name, count, advance)
    print_rows(mean_curves(curves), as_json)
    if output:
        write_invariance(curves, output)


@example("fc7 explain correspondence dogs --output study")
@click.command()
@folder_argument
@bundle_option
@report_option("correspondence.csv and correspondence.png")
@json_option
def correspondence(folder: Path, name: str, output: Path | None, as_json: bool) -> None:
    """Compare the effects of masking the same part in several pictures.

    FOLDER holds the pictures and a file parts.csv with the columns picture, part, x, y, width and
    height; the last four are shares of the upright picture, from 0 to 1. The same part is masked
    in each picture, to see whether their features change alike, and more so than with random
    masks (Zeiler & Fergus 2013, table 1). Needs 'fc7[train]', but no server.
    """
    from fc7_models.studies.correspondence import measure_correspondence as run
    from fc7_models.studies.explanation_figures import write_correspondence
    from fc7_models.studies.figure import prepare_output

    if output:
        prepare_output(output)
    with progress_bar("correspondence", None, as_json=as_json) as advance:
        rows = run(folder, name, advance)
    print_rows([asdict(row) for row in rows], as_json)
    if output:
        write_correspondence(rows, output)


@example("fc7 explain evolution made.checkpoints --pictures holiday --output study")
@click.command()
@click.argument("checkpoints", type=path_type)
@click.option("--pictures", required=True, type=path_type, metavar="FOLDER", help="Folder of pictures to look at.")
@report_option("evolution.csv and evolution.png")
@json_option
def evolution(checkpoints: Path, pictures: Path, output: Path | None, as_json: bool) -> None:
    """Show how the units of a network develop during training.

    CHECKPOINTS is the folder that `fc7 model train --checkpoints` kept. Six units of each
    convolution are projected to pixels after each epoch in it, in the picture that excites them
    most (Zeiler & Fergus 2013, figure 4). Needs 'fc7[train]', but no server.
    """
    from fc7_models.studies.explanation_figures import write_evolution
    from fc7_models.studies.feature_evolution import project_epochs as run
    from fc7_models.studies.figure import prepare_output

    if output:
        prepare_output(output)
    with progress_bar("evolution", None, as_json=as_json) as advance:
        stages = run(checkpoints, pictures, advance)
    print_rows([stage.row() for stage in stages], as_json)
    if output:
        write_evolution(stages, output)


@example("fc7 explain check holiday --output study")
@click.command()
@folder_argument
@bundle_option
@_count_option(20)
@report_option("tables (CSV) and drawings (PNG)")
@json_option
def check(folder: Path, name: str, count: int, output: Path | None, as_json: bool) -> None:
    """Measure how far explanations can be trusted.

    FOLDER is searched at any depth. Prints the areas under the deletion and insertion curves,
    beside those of a random order and of edges (Petsiuk 2018), and then how similar a map stays
    when the weights of the network are shuffled (Adebayo 2018). Needs 'fc7[train]', but no
    server.
    """
    from fc7_models.studies.explanation_figures import write_check
    from fc7_models.studies.figure import prepare_output
    from fc7_models.studies.saliency_check import check_saliency as run

    if output:
        prepare_output(output)
    with progress_bar("check", None, as_json=as_json) as advance:
        found = run(folder, name, count, advance)
    print_rows([asdict(score) for score in found.scores], as_json)
    if not as_json:
        print_text("")
    print_rows([asdict(row) for row in found.similarities], as_json)
    if output:
        write_check(found, output)
