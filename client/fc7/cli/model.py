"""`fc7 model`: the networks of a server, and the door to training them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.model_study import curve, evaluate, inspect, probe, quantize
from fc7.cli.model_train import ablate, train
from fc7.cli.options import json_option
from fc7.cli.output import print_bundle, print_json, print_table, print_text, progress_bar
from fc7.errors import DataLoss

if TYPE_CHECKING:
    from fc7 import Client, Model

TOLERANCE = 1e-4  # of the layer's largest value


@click.group()
def model() -> None:
    """List, show, verify, train, export, evaluate, probe, pull and import networks."""


model.add_command(evaluate)
model.add_command(probe)
model.add_command(curve)
model.add_command(inspect)
model.add_command(quantize)
model.add_command(train)
model.add_command(ablate)


@model.command(name="list")
@json_option
@connected
def list_(connection: Connection, as_json: bool) -> None:
    """List the models of the server, the default one first."""
    with connection.open() as client:
        models = client.models()
    if as_json:
        for one in models:
            print_json(_facts(one))
    else:
        rows = [
            (one.name, one.network, " ".join(layer.name for layer in one.layers), one.default_layer, one.provider)
            for one in models
        ]
        print_table(("name", "network", "layers", "default layer", "provider"), rows)


@model.command()
@click.argument("model", metavar="[NAME|BUNDLE]", default="")
@json_option
@connected
def show(connection: Connection, model: str, as_json: bool) -> None:
    """Show one model: layers, recipe, classes, card. Defaults to the server's first."""
    with connection.open() as client:
        one = client.model(model)
    if as_json:
        print_json(asdict(one))
        return
    print_text(f"{one.name}: network {one.network}, {len(one.classes)} classes, graph {one.graph_sha256}")
    print_text(f"recommended layer, which is meant where none is named: {one.default_layer}\n")
    rows = [
        (x.name, x.dim, " x ".join(map(str, x.shape)), x.recipe["crop_px"], x.transform, x.provenance_digest)
        for x in one.layers
    ]
    print_table(("layer", "dim", "shape", "pixels", "transform", "provenance"), rows)
    print_text("")
    print_table(("recipe", ""), one.recipe.items())
    print_text(f"\n{one.card}")


@model.command()
@click.argument("model", metavar="[NAME|BUNDLE]", default="")
@json_option
@connected
def verify(connection: Connection, model: str, as_json: bool) -> None:
    """Send the golden pictures of a model through the server; compare every layer. Exit code 8 where one differs."""
    with connection.open() as client:
        rows = list(_compare(client, client.model(model).name))
    if as_json:
        for row in rows:
            print_json(row)
    else:
        print_table(tuple(rows[0]), [list(row.values()) for row in rows])
    differing = [row["layer"] for row in rows if not row["ok"]]
    if differing:
        raise DataLoss(
            f"layers {', '.join(differing)} differ from the golden vectors by more than {TOLERANCE:g} of their "
            "largest value: the bundle is damaged or this machine computes wrongly",
            name=model,
        )


@model.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder of the new bundle.")
@click.option("--name", help="Name of the model; without: that of the folder.")
@click.option(
    "--notes",
    type=click.Path(path_type=Path),
    help="Markdown that ends the card: licence, source, what was measured since.",
)
@click.option(
    "--pictures",
    "folders",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FOLDER",
    help="Training pictures, of which the layer conv5_pooled is learnt; may be repeated.",
)
@click.option("--default-layer", metavar="LAYER", help="Layer that is meant where none is named; without: fc7.")
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
    """Write the bundle of a trained network: CHECKPOINT is the `trained.pt` of a run. Needs 'fc7[train]'."""
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


@model.command()
@click.argument("network")
@click.option("--output", type=click.Path(path_type=Path), help="Folder of the new bundle; without: NETWORK, here.")
@click.option("--name", help="Name of the model; without: that of the folder.")
@json_option
def pull(network: str, output: Path | None, name: str | None, as_json: bool) -> None:
    """Make the bundle of somebody else's network, trained on ImageNet: efficientnet-lite0, alexnet, resnet50, ...

    A NETWORK that does not exist lists those that do. Needs 'fc7[train,zoo]'.
    """
    from fc7_models.zoo.pull import pull as run

    output = output or Path(network)
    with progress_bar("pull", None, as_json=as_json) as report:
        bundle = run(network, output, model=name or output.name, report=report)
    print_bundle(bundle.name, output, as_json)


@model.command(name="import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--recipe", type=click.Path(path_type=Path), help="JSON file: what an unknown ONNX network wants to see.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder of the new bundle; without: FILE's name, here.")
@click.option("--name", help="Name of the model; without: that of the folder.")
@json_option
def import_(file: Path, recipe: Path | None, output: Path | None, name: str | None, as_json: bool) -> None:
    """Make the bundle of a model FILE: an ONNX image network, or weights (.pth) that `fc7 model pull` would fetch.

    Published files are known by their SHA-256; of another the recipe must be given, and without
    one the usual ones are listed. Needs 'fc7[train]', for published files also 'fc7[zoo]'.
    """
    from fc7_models.zoo.import_file import import_file

    output = output or Path(file.stem)
    bundle = import_file(file, output, model=name or output.name, recipe=recipe)
    print_bundle(bundle.name, output, as_json)


def _compare(client: Client, name: str) -> Iterator[dict[str, Any]]:
    import numpy as np

    golden = client.golden(name)
    for layer, wanted in golden.layers.items():
        pixels = golden.own_pixels.get(layer, golden.pixels)
        values = client.extract(list(pixels), layer=layer, model=name).values
        difference = float(np.abs(values - wanted).max())
        limit = TOLERANCE * float(np.abs(wanted).max())
        yield {"layer": layer, "max_difference": difference, "limit": limit, "ok": difference <= limit}


def _facts(one: Model) -> dict[str, Any]:
    facts = asdict(one)
    del facts["classes"], facts["card"]
    return facts
