"""`fc7 explain invariance, correspondence, evolution, check`: studies of what explanations show and are worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from fc7.cli.options import bundle_option, json_option
from fc7.cli.output import print_rows, print_text, progress_bar

_folder = click.argument("folder", type=click.Path(path_type=Path))


def _count(default: int) -> Callable[[Any], Any]:
    text = "Pictures, taken evenly along their sorted names."
    return click.option("--count", type=click.IntRange(min=1), default=default, show_default=True, help=text)


def _output(what: str) -> Callable[[Any], Any]:
    return click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help=f"Folder for {what}.")


@click.command()
@_folder
@bundle_option
@_count(5)
@_output("invariance.csv and invariance.png")
@json_option
def invariance(folder: Path, name: str, count: int, output: Path | None, as_json: bool) -> None:
    """Shift, enlarge and turn the pictures in FOLDER: how far the features go, and what becomes of the class.

    Zeiler & Fergus 2013, figure 5. Needs 'fc7[train]'.
    """
    from fc7_models.studies.explanation_figures import write_invariance
    from fc7_models.studies.invariance import invariance as run
    from fc7_models.studies.invariance import means
    from fc7_models.studies.network_figures import prepare

    if output:
        prepare(output)
    with progress_bar("invariance", None, as_json=as_json) as advance:
        curves = run(folder, name, count, advance)
    print_rows(means(curves), as_json)
    if output:
        write_invariance(curves, output)


@click.command()
@_folder
@bundle_option
@_output("correspondence.csv and correspondence.png")
@json_option
def correspondence(folder: Path, name: str, output: Path | None, as_json: bool) -> None:
    """Mask the same part in several pictures of FOLDER: whether what changes is alike, more than with random masks.

    FOLDER holds parts.csv: picture,part,x,y,width,height in shares of the picture. Zeiler & Fergus 2013, table 1.
    Needs 'fc7[train]'.
    """
    from fc7_models.studies.correspondence import correspondence as run
    from fc7_models.studies.explanation_figures import write_correspondence
    from fc7_models.studies.network_figures import prepare

    if output:
        prepare(output)
    with progress_bar("correspondence", None, as_json=as_json) as advance:
        rows = run(folder, name, advance)
    print_rows([asdict(row) for row in rows], as_json)
    if output:
        write_correspondence(rows, output)


@click.command()
@click.argument("checkpoints", type=click.Path(path_type=Path))
@click.option(
    "--pictures", required=True, type=click.Path(path_type=Path), metavar="FOLDER", help="Pictures to look at."
)
@_output("evolution.csv and evolution.png")
@json_option
def evolution(checkpoints: Path, pictures: Path, output: Path | None, as_json: bool) -> None:
    """Project units of each convolution after each epoch that `fc7 model train --checkpoints` kept in CHECKPOINTS.

    Zeiler & Fergus 2013, figure 4. Needs 'fc7[train]'.
    """
    from fc7_models.studies.explanation_figures import write_evolution
    from fc7_models.studies.feature_evolution import evolution as run
    from fc7_models.studies.network_figures import prepare

    if output:
        prepare(output)
    with progress_bar("evolution", None, as_json=as_json) as advance:
        stages = run(checkpoints, pictures, advance)
    print_rows([stage.row() for stage in stages], as_json)
    if output:
        write_evolution(stages, output)


@click.command()
@_folder
@bundle_option
@_count(20)
@_output("tables (CSV) and drawings (PNG)")
@json_option
def check(folder: Path, name: str, count: int, output: Path | None, as_json: bool) -> None:
    """Measure how far explanations of the pictures in FOLDER can be trusted.

    Deletion and insertion curves against a random order and edges (Petsiuk 2018), and what is left of a map when the
    network's weights are shuffled (Adebayo 2018). Needs 'fc7[train]'.
    """
    from fc7_models.studies.explanation_figures import write_check
    from fc7_models.studies.network_figures import prepare
    from fc7_models.studies.saliency_check import check as run

    if output:
        prepare(output)
    with progress_bar("check", None, as_json=as_json) as advance:
        found = run(folder, name, count, advance)
    print_rows([asdict(score) for score in found.scores], as_json)
    if not as_json:
        print_text("")
    print_rows([asdict(row) for row in found.similarities], as_json)
    if output:
        write_check(found, output)
