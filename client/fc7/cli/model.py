"""`fc7 model`: list, show, verify, export, pull and import networks; other files hold its other commands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.model_serving import load, model_facts, reload, unload
from fc7.cli.model_study import curve, evaluate, inspect, probe, quantize
from fc7.cli.model_train import ablate, train
from fc7.cli.options import bundle_name_option, bundle_output_option, example, json_option, path_type
from fc7.cli.output import print_bundle, print_json, print_table, print_text, printable, progress_bar
from fc7.contract.golden import FILE_TOLERANCE, TOLERANCE
from fc7.errors import DataLoss

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fc7 import Client

_TASKS = {"views": "find altered copies of a picture", "classes": "tell classes apart"}


@click.group()
def model() -> None:
    """List, show, verify, load, train, export, evaluate, probe, pull and import networks."""


model.add_command(load)
model.add_command(reload)
model.add_command(unload)
model.add_command(evaluate)
model.add_command(probe)
model.add_command(curve)
model.add_command(inspect)
model.add_command(quantize)
model.add_command(train)
model.add_command(ablate)


@example("fc7 model list")
@model.command(name="list")
@json_option
@connected
def list_(connection: Connection, as_json: bool) -> None:
    """List the models of the server, its default model first."""
    with connection.open() as client:
        models = client.models()
    if as_json:
        for each in models:
            print_json(model_facts(each))
    else:
        rows = [
            (
                each.name,
                each.network,
                " ".join(layer.name for layer in each.layers),
                each.default_layer,
                each.provider,
                each.version,
            )
            for each in models
        ]
        print_table(("name", "network", "layers", "default layer", "provider", "version"), rows)


@example("fc7 model show alexnet-64")
@model.command()
@click.argument("model", metavar="[NAME|BUNDLE]", default="")
@json_option
@connected
def show(connection: Connection, model: str, as_json: bool) -> None:
    """Show the layers, the recipe and the card of a model.

    Without NAME, the server's first model is shown.
    """
    with connection.open() as client:
        found = client.model(model)
    if as_json:
        print_json(asdict(found))
        return
    name, network = printable(found.name), printable(found.network)
    print_text(f"{name}: network {network}, {len(found.classes)} classes, graph {printable(found.graph_sha256)}")
    print_text(f"default layer: {printable(found.default_layer)}")
    for task, layer in found.recommended_layers.items():
        print_text(f"recommended to {_TASKS[task]}: {layer}" if task in _TASKS else f"recommended for {task}: {layer}")
    print_text("")
    rows = [
        (
            layer.name,
            layer.dim,
            " x ".join(map(str, layer.shape)),
            layer.recipe["crop_px"],
            layer.transform,
            layer.provenance_digest,
        )
        for layer in found.layers
    ]
    print_table(("layer", "dim", "shape", "pixels", "transform", "provenance"), rows)
    print_text("")
    print_table(("recipe", ""), found.recipe.items())
    print_text(f"\n{found.card}")


@example("fc7 model verify alexnet-64")
@model.command()
@click.argument("model", metavar="[NAME|BUNDLE]", default="")
@json_option
@connected
def verify(connection: Connection, model: str, as_json: bool) -> None:
    """Check that the server computes a model correctly.

    The golden pictures of the model are sent to the server, and its answers are compared with the
    golden values. The exit code is 8 if a layer differs by more than a ten-thousandth of its
    largest value. Golden files check decoding and resizing too; their layer may differ by a
    tenth of its largest value. Without NAME, the server's first model is checked.
    """
    with connection.open() as client:
        rows = list(_compare(client, client.model(model).name))
    if as_json:
        for row in rows:
            print_json(row)
    else:
        print_table(tuple(rows[0]), [list(row.values()) for row in rows])
    differing = [row["layer"] for row in rows if not row["ok"] and not row["file"]]
    if differing:
        raise DataLoss(
            f"layers {', '.join(differing)} differ from the golden values by more than {TOLERANCE:g} of their largest "
            "value. The bundle is damaged, or the server's machine computes wrongly",
            name=model,
        )
    files = [row["file"] for row in rows if not row["ok"]]
    if files:
        raise DataLoss(
            f"golden files {', '.join(files)} give features that differ by more than {FILE_TOLERANCE:g} of the largest "
            "value. The server decodes pictures differently: install the version of Pillow that fc7 asks for",
            name=model,
        )


@example("fc7 model export made.checkpoints/trained.pt --output made")
@model.command()
@click.argument("checkpoint", type=path_type)
@bundle_output_option()
@bundle_name_option
@click.option(
    "--notes",
    type=path_type,
    metavar="FILE",
    help="Markdown file to append to the model card, for example with licence, source and later measurements.",
)
@click.option(
    "--pictures",
    "folders",
    type=path_type,
    multiple=True,
    metavar="FOLDER",
    help="Folder of training pictures, from which the layers conv5_pooled and conv5_gem are learnt. Repeatable.",
)
@click.option("--default-layer", metavar="LAYER", help="Layer to use when a command names none. Defaults to fc7.")
@json_option
def export(
    checkpoint: Path,
    output: Path,
    name: str | None,
    notes: Path | None,
    folders: tuple[Path, ...],
    default_layer: str | None,
    as_json: bool,
) -> None:
    """Write the bundle of a trained network.

    CHECKPOINT is a file trained.pt or epoch-N.pt that `fc7 model train` kept. Needs 'fc7[train]', but no
    server.
    """
    from fc7_models.data.dataset import read_text, training_files
    from fc7_models.export.export_trained import export_bundle
    from fc7_models.export.pack_bundle import check_output
    from fc7_models.training.trained_network import load_trained

    check_output(output, name or output.name)
    text = read_text(notes) if notes else ""
    trained = load_trained(checkpoint)
    with progress_bar("pool", None, as_json=as_json) as report:
        bundle = export_bundle(
            trained,
            output,
            name=name or output.name,
            notes=text,
            pictures=training_files(folders, trained.record.near),
            default_layer=default_layer,
            report=report,
        )
    print_bundle(bundle.name, output, as_json)


@example("fc7 model pull efficientnet-lite0")
@model.command()
@click.argument("network")
@bundle_output_option("./NETWORK")
@bundle_name_option
@json_option
def pull(network: str, output: Path | None, name: str | None, as_json: bool) -> None:
    """Download a network trained on ImageNet and write its bundle.

    NETWORK is efficientnet-lite0, alexnet, resnet50 or another one; the error for an unknown name
    lists all of them. Needs 'fc7[train,zoo]', but no server.
    """
    from fc7_models.zoo.pull import pull as run

    output = output or Path(network)
    with progress_bar("pull", None, as_json=as_json) as report:
        bundle = run(network, output, model=name or output.name, report=report)
    print_bundle(bundle.name, output, as_json)


@example("fc7 model import resnet50.onnx")
@model.command(name="import")
@click.argument("file", type=path_type)
@click.option(
    "--recipe",
    type=path_type,
    metavar="FILE",
    help="JSON file with the preprocessing of an ONNX network that fc7 does not know.",
)
@bundle_output_option("./FILE without its suffix")
@bundle_name_option
@json_option
def import_(file: Path, recipe: Path | None, output: Path | None, name: str | None, as_json: bool) -> None:
    """Make a bundle from a network file.

    FILE is an ONNX image network, or a file of weights (.pth) that `fc7 model pull` would
    download. fc7 recognises published files by their SHA-256. Any other file needs --recipe;
    without it, the error lists the usual recipes. Needs 'fc7[train]', for published files also
    'fc7[zoo]', but no server.
    """
    from fc7_models.zoo.import_file import import_file

    output = output or Path(file.stem)
    bundle = import_file(file, output, model=name or output.name, recipe=recipe)
    print_bundle(bundle.name, output, as_json)


def _compare(client: Client, model: str) -> Iterator[dict[str, Any]]:
    import numpy as np

    golden = client.golden(model)
    for layer, wanted in golden.layers.items():
        pixels = golden.own_pixels.get(layer, golden.pixels)
        values = client.extract(list(pixels), layer=layer, model=model).values
        yield _row(layer, "", values - wanted, TOLERANCE * float(np.abs(wanted).max()))
    for name, file in golden.files.items():
        values = client.extract(file.encoded, layer=file.layer, model=model).values
        yield _row(file.layer, name, values - file.values, FILE_TOLERANCE * float(np.abs(file.values).max()))


def _row(layer: str, file: str, differences: NDArray[Any], limit: float) -> dict[str, Any]:
    difference = float(abs(differences).max())
    return {"layer": layer, "file": file, "max_difference": difference, "limit": limit, "ok": difference <= limit}
