"""`fc7 explain top`: the pictures that excite units most."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fc7.cli.explanation import (
    check_result,
    layer_option,
    model_option,
    output_option,
    place_facts,
    projection_arrays,
    rule_option,
    show,
    text_array,
    write_result,
)
from fc7.cli.images import Found, find_images
from fc7.cli.output import complain, end, json_option, progress
from fc7.cli.setting import Connection, connected
from fc7.errors import FailedPrecondition

if TYPE_CHECKING:
    from fc7 import Client, TopUnits

_RANDOM = "random:"
_SEED = 7


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--collection", help="Take the pictures that the items of this collection name in payload.path.")
@layer_option
@click.option("--units", default="random:16", show_default=True, metavar="N,N,...|random:N", help="Units to show.")
@rule_option
@model_option
@output_option
@json_option
@connected
def top(
    connection: Connection,
    folder: Path | None,
    collection: str | None,
    layer: str,
    units: str,
    rule: str,
    model: str,
    output: Path | None,
    as_json: bool,
) -> None:
    """Find the nine pictures that excite each unit most; draw patches and projections.

    Zeiler & Fergus 2013, figure 2. The server remembers the pass over the pictures: other units of the same
    layer cost none.
    """
    if (folder is None) == (collection is None):
        raise click.UsageError("give either FOLDER or --collection C")
    check_result(output)
    named, n_random = _chosen(units)
    with connection.open() as client:
        images = find_images([folder]) if folder is not None else _stored(client, str(collection))
        with progress("top", len(images), as_json=as_json) as report:
            found = client.explain.top(
                [image.path for image in images], layer=layer, units=named, model=model, report=report
            )
        shown = named or sorted(random.Random(_SEED).sample(sorted(found.units), min(n_random, len(found.units))))  # noqa: S311
        for failed in found.failed:
            complain(images[failed.index].name, failed.error)
        if output is not None:
            _draw_top(client, images, found, shown, rule, output)
    show([place_facts(i.place) | {"id": images[i.index].id} for unit in shown for i in found.units[unit]], as_json)
    end(len(found.failed))


def _chosen(text: str) -> tuple[list[int], int]:
    """Return the units that are named, or how many are to be drawn by lot."""
    count = text.removeprefix(_RANDOM)
    numbers = [count] if text.startswith(_RANDOM) else text.split(",")
    if not all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers) or count == "0":
        raise click.UsageError(f"--units {text!r} is neither N,N,... nor {_RANDOM}N")
    return ([], int(count)) if text.startswith(_RANDOM) else (list(dict.fromkeys(map(int, numbers))), 0)


def _stored(client: Client, collection: str) -> list[Found]:
    """Return the pictures that a collection's items name; those without one are said."""
    found = []
    for item in client.collection(collection).items():
        path = item.payload.get("path")
        if isinstance(path, str):
            found.append(Found(item.id, Path(path)))
        else:
            complain(item.id, "no payload.path says where its picture is")
    if not found:
        raise FailedPrecondition(
            f"no item of collection {collection!r} names its picture in payload.path: add them with `fc7 add`",
            name=collection,
        )
    return found


def _draw_top(
    client: Client, images: Sequence[Found], found: TopUnits, shown: Sequence[int], rule: str, output: Path
) -> None:
    """Project each unit in the pictures that excite it most; write the figure or the arrays."""
    from fc7.cli.plate import Excited, draw_top

    provenance, excited = found.provenance, {unit: list[Excited]() for unit in shown}
    with progress("project", sum(len(found.units[unit]) for unit in shown)) as report:
        done = 0
        for unit in shown:
            for one in found.units[unit]:
                path = images[one.index].path
                answer = client.explain.unit(
                    path, layer=provenance.layer, units=(unit,), rule=rule, model=provenance.model
                )
                excited[unit].append(Excited(path, answer.view, answer.projections[0]))
                done += 1
                report(done)
    every = [one for row in excited.values() for one in row]
    arrays = projection_arrays([one.projection for one in every])
    arrays["ids"] = text_array([images[one.index].id for unit in shown for one in found.units[unit]])
    title = f"{provenance.model} {provenance.layer}: the nine of {len(images)} pictures that excite each unit most"
    write_result(output, arrays, provenance.to_dict(), lambda file: draw_top(excited, file, title))
