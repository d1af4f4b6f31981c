"""`fc7 model train, ablate`: networks from pictures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fc7.cli.options import json_option
from fc7.cli.output import print_bundle, print_json, print_table, print_text, progress_bar

if TYPE_CHECKING:
    from fc7_models.training.loop import Progress

_path = click.Path(path_type=Path)
_RECIPES = "Or robust: for pictures as they get about. Or krizhevsky2012, zeiler2013: as the papers did."
_recipe = click.option("--recipe", default="modern", show_default=True, help=_RECIPES)


@click.command()
@click.argument("folders", metavar="FOLDER...", nargs=-1, required=True, type=_path)
@click.option("--network", required=True, help="Network to train, for example alexnet-64.")
@click.option("--output", required=True, type=_path, help="Folder of the new bundle.")
@click.option("--name", help="Name of the model; without: that of the folder.")
@_recipe
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the pictures; without: the recipe's.")
@click.option("--heads", is_flag=True, help="A softmax a folder over shared layers; the first folder's is kept.")
@click.option(
    "--from",
    "start",
    type=_path,
    metavar="FILE|MODEL",
    help="Weights to begin with: trained.pt or epoch-N.pt of a run, or a bundle: its folder or a shipped one's name.",
)
@click.option("--checkpoints", type=_path, help="State of the run; without: OUTPUT.checkpoints.")
@json_option
def train(
    folders: tuple[Path, ...],
    network: str,
    output: Path,
    name: str | None,
    recipe: str,
    epochs: int | None,
    heads: bool,
    start: Path | None,
    checkpoints: Path | None,
    as_json: bool,
) -> None:
    """Train a network on the pictures of each FOLDER and write its bundle.

    A FOLDER holds one sub-folder a class, or `train` and `val`; the first one's validation pictures
    count. Classes of one name are one class. A run that was cut off goes on from its checkpoints when
    it is started again. `torchrun --nproc-per-node N -m fc7 model train ...` shares the work among N
    processes. Needs 'fc7[train]'.
    """
    from fc7_models.data.dataset import training_files
    from fc7_models.export.export_trained import export_bundle
    from fc7_models.export.pack_bundle import check_output
    from fc7_models.training.loop import train as run
    from fc7_models.training.plan import make_plan
    from fc7_models.training.process_group import join_process_group

    check_output(output, name or output.name)
    plan = make_plan(network, recipe=recipe, epochs=epochs, has_heads=heads, has_start=start is not None)
    checkpoints = checkpoints or output.with_name(f"{output.name}.checkpoints")
    with join_process_group() as processes, progress_bar("train", None, as_json=as_json) as advance:

        def report(state: Progress) -> None:
            if not processes.is_main:
                return
            advance(state.step, state.n_steps)
            if state.top1 is not None:
                print_text(f"epoch {state.epoch}: loss {state.loss:.3f}, top-1 {state.top1:.3f}", err=True)

        trained = run(folders, plan, checkpoints, report, start=start, processes=processes)
    if processes.is_main:
        if trained.record.n_near:
            text = f"{trained.record.n_near} pictures left out, since a validation picture is nearly the same"
            print_text(text, err=True)
        pictures = training_files(folders, trained.record.near) if trained.network.is_any_size else []
        with progress_bar("pool", None, as_json=as_json) as advance:
            bundle = export_bundle(trained, output, name=name or output.name, pictures=pictures, report=advance)
        print_bundle(bundle.name, output, as_json)


@click.command()
@click.argument("folder", type=_path)
@click.option("--network", required=True, help="Network to take apart, for example zfnet-64.")
@_recipe
@click.option("--epochs", required=True, type=click.IntRange(min=1), help="Passes over the pictures, of each variant.")
@click.option("--output", required=True, type=_path, metavar="DIR", help="Folder for the tables and the checkpoints.")
@json_option
def ablate(folder: Path, network: str, recipe: str, epochs: int, output: Path, as_json: bool) -> None:
    """Train a network anew with layers removed or resized and with techniques left out, to tell what each is worth.

    Writes layers.csv (2013, table 3) and techniques.csv (2012, sections 3.3 to 4.2) to DIR. A study
    that was cut off goes on when it is started again. Needs 'fc7[train]'.
    """
    from fc7_models.studies.ablation import ablate as run
    from fc7_models.studies.network_figures import prepare, write_ablation
    from fc7_models.training.plan import make_plan

    plan = make_plan(network, recipe=recipe, epochs=epochs)
    prepare(output)
    with progress_bar("ablate", None, as_json=as_json) as advance:
        results = run(folder, plan, output, advance)
    write_ablation(results, output)
    rows = [asdict(result) for result in results]
    if as_json:
        for row in rows:
            print_json(row)
    else:
        print_table(tuple(rows[0]), [tuple(row.values()) for row in rows])
