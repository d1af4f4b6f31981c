"""`fc7 model train, ablate`: train networks on pictures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fc7.cli.options import (
    bundle_name_option,
    bundle_output_option,
    example,
    folder_argument,
    json_option,
    path_type,
)
from fc7.cli.output import counted, print_bundle, print_rows, print_text, progress_bar

if TYPE_CHECKING:
    from fc7_models.training.loop import Progress

_recipe_option = click.option(
    "--recipe",
    default="modern",
    show_default=True,
    help="How to train: modern; robust, for re-compressed and edited pictures; or krizhevsky2012 or zeiler2013, as in "
    "the papers.",
)


@example("fc7 model train photos --network alexnet-64 --output made")
@click.command()
@click.argument("folders", metavar="FOLDER...", nargs=-1, required=True, type=path_type)
@click.option("--network", required=True, help="Network to train, such as alexnet-64.")
@bundle_output_option()
@bundle_name_option
@_recipe_option
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the pictures. Defaults to the recipe's number.")
@click.option(
    "--heads",
    is_flag=True,
    help="Train one softmax layer per FOLDER on top of shared layers, and keep that of the first FOLDER.",
)
@click.option(
    "--from",
    "start",
    type=path_type,
    metavar="FILE|MODEL",
    help="Weights to start from: a file trained.pt or epoch-N.pt of another run, the folder of a bundle, or the name "
    "of a shipped model.",
)
@click.option(
    "--teacher",
    type=path_type,
    metavar="FOLDER|MODEL",
    help="Bundle whose features and logits the network also learns to predict: its folder, or the name of a shipped "
    "model. The classes may differ.",
)
@click.option(
    "--checkpoints",
    type=path_type,
    metavar="DIR",
    help="Folder that keeps the state of the run. Defaults to the output folder's name with .checkpoints added.",
)
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
    teacher: Path | None,
    checkpoints: Path | None,
    as_json: bool,
) -> None:
    """Train a network on folders of pictures and write its bundle.

    Each FOLDER holds one sub-folder per class, or train/ and val/ with such sub-folders. Classes
    of the same name are one class. The accuracy is measured on the validation pictures of the
    first FOLDER.

    An interrupted run continues from its checkpoints when you start it again. To share the work
    among N processes, run `torchrun --nproc-per-node N -m fc7 model train ...`. Needs
    'fc7[train]', but no server.
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

        trained = run(folders, plan, checkpoints, report, start=start, teacher=teacher, processes=processes)
    if processes.is_main:
        if trained.record.n_near:
            left_out = f"{counted(trained.record.n_near, 'picture')} left out"
            print_text(f"{left_out}, because a validation picture is nearly the same", err=True)
        pictures = training_files(folders, trained.record.near) if trained.network.is_any_size else []
        with progress_bar("pool", None, as_json=as_json) as advance:
            bundle = export_bundle(trained, output, name=name or output.name, pictures=pictures, report=advance)
        print_bundle(bundle.name, output, as_json)


@example("fc7 model ablate photos --network zfnet-64 --epochs 20 --output study")
@click.command()
@folder_argument
@click.option("--network", required=True, help="Network to take apart, such as zfnet-64.")
@_recipe_option
@click.option("--epochs", required=True, type=click.IntRange(min=1), help="Passes over the pictures for each variant.")
@click.option(
    "--output", required=True, type=path_type, metavar="DIR", help="Folder to write the tables and checkpoints to."
)
@json_option
def ablate(folder: Path, network: str, recipe: str, epochs: int, output: Path, as_json: bool) -> None:
    """Measure what each layer and technique adds to accuracy.

    The network is trained again with layers removed or resized, and with techniques left out.
    Writes layers.csv (Zeiler & Fergus 2013, table 3) and techniques.csv (Krizhevsky et al. 2012,
    sections 3.3 to 4.2). An interrupted study continues when you start it again. Needs
    'fc7[train]', but no server.
    """
    from fc7_models.studies.ablation import ablate as run
    from fc7_models.studies.figure import prepare_output
    from fc7_models.studies.network_figures import write_ablation
    from fc7_models.training.plan import make_plan

    plan = make_plan(network, recipe=recipe, epochs=epochs)
    prepare_output(output)
    with progress_bar("ablate", None, as_json=as_json) as advance:
        results = run(folder, plan, output, advance)
    write_ablation(results, output)
    print_rows([asdict(result) for result in results], as_json)
