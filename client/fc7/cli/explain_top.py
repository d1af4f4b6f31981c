"""`fc7 explain top`: find and draw the pictures that excite units most."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.explain_output import check_result, place_facts, projection_arrays, text_array, write_result
from fc7.cli.folder_scan import FolderScan
from fc7.cli.image_arguments import FoundImage, find_images, finish
from fc7.cli.options import (
    example,
    exclude_option,
    explanation_option,
    json_option,
    model_option,
    path_type,
    rule_option,
    unit_layer_option,
)
from fc7.cli.output import print_note, print_rows, progress_bar
from fc7.errors import FailedPrecondition

if TYPE_CHECKING:
    from fc7 import Client, Collection, TopUnits
    from fc7.drawing.explanations import ActivatingPicture

_RANDOM = "random:"
_SEED = 7
_MOST_UNITS = 64  # of one drawing, which holds nine projections of each in memory
_UNITS_PER_CALL = 16  # at 224 px, a projection takes 600 kB of the answer


@example("fc7 explain top holiday --output top.png")
@click.command()
@click.argument("folder", required=False, type=path_type)
@click.option(
    "--collection",
    help="Use the pictures that the items of this collection name in payload.path, and its model, instead of FOLDER.",
)
@unit_layer_option
@click.option(
    "--units",
    default="random:16",
    show_default=True,
    metavar="N,N,...|random:N",
    help="Units to show. random:N draws N units by lot, the same ones every time.",
)
@rule_option
@model_option
@explanation_option
@exclude_option
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
    scan: FolderScan,
    as_json: bool,
) -> None:
    """Find the pictures that excite each unit most.

    FOLDER is searched at any depth. Each unit of the layer gets the nine pictures in which it is
    strongest. With --output, the drawing shows for each unit the parts of
    the pictures that it sees and their projections to pixels (Zeiler & Fergus 2013, figure 2), of
    64 units at most. The server remembers the result for all units of the layer, so asking for
    other units is quick.

    Prints the value of each unit in each picture, its row and column in the map, its box (left,
    top, right and bottom, in pixels of the square that the network sees), and the picture's id. An
    item without payload.path is reported and left out, and the exit code is 1.
    """
    if (folder is None) == (collection is None):
        raise click.UsageError("give either FOLDER or --collection NAME, not both or neither")
    if collection is not None and scan.exclude:
        raise click.UsageError("--exclude is for FOLDER. A collection is used with all its items")
    check_result(output)
    named, n_random = _parse_units(units)
    if output is not None and (count := len(named) or n_random) > _MOST_UNITS:
        raise click.UsageError(f"--units may name at most {_MOST_UNITS} units with --output (got {count})")
    with connection.open() as client:
        if folder is not None:
            images, n_left_out = find_images([folder], scan), 0
        else:
            stored = client.collection(str(collection))
            images, n_left_out = _stored_images(stored)
            model = model or stored.provenance.model
        with progress_bar("top", len(images), as_json=as_json) as report:
            found = client.explain.top(
                [image.path for image in images], layer=layer, units=named, model=model, report=report
            )
        shown = named or sorted(random.Random(_SEED).sample(sorted(found.units), min(n_random, len(found.units))))  # noqa: S311
        for failed in found.failed:
            print_note(images[failed.index].name, failed.error)
        if output is not None:
            _write(output, images, found, _project(client, images, found, shown, rule, as_json))
    print_rows(
        [place_facts(hit.place) | {"id": images[hit.index].id} for unit in shown for hit in found.units[unit]], as_json
    )
    finish(scan, len(found.failed) + n_left_out)


def _parse_units(text: str) -> tuple[list[int], int]:
    """Return the units that --units names, and how many to draw by lot; one of them is empty or 0."""
    is_random, numbers = text.startswith(_RANDOM), text.removeprefix(_RANDOM).split(",")
    is_known = all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers)
    if not is_known or (is_random and (len(numbers) > 1 or int(numbers[0]) == 0)):
        raise click.UsageError(f"--units must be N,N,... or {_RANDOM}N (got {text!r})")
    return ([], int(numbers[0])) if is_random else (list(dict.fromkeys(map(int, numbers))), 0)


def _stored_images(collection: Collection) -> tuple[list[FoundImage], int]:
    """Return the pictures that a collection's items name, and the number of items that name none."""
    images, n_left_out = [], 0
    for item in collection.items():
        path = item.payload.get("path")
        if isinstance(path, str):
            images.append(FoundImage(item.id, Path(path)))
        else:
            n_left_out += 1
            print_note(item.id, "left out, because it has no payload.path that says where its picture is")
    if not images:
        raise FailedPrecondition(
            f"no item of collection {collection.name!r} has a payload.path that says where its picture is. "
            "Add the pictures with `fc7 add`",
            name=collection.name,
        )
    return images, n_left_out


def _write(
    output: Path, images: Sequence[FoundImage], found: TopUnits, excited: Mapping[int, Sequence[ActivatingPicture]]
) -> None:
    from fc7.drawing.explanations import draw_top_pictures

    where = f"{found.provenance.model} {found.provenance.layer}"
    title = f"{where}: for each unit the nine pictures, of {len(images)}, that activate it most"
    arrays = projection_arrays([hit.projection for hits in excited.values() for hit in hits])
    arrays["ids"] = text_array([images[hit.index].id for unit in excited for hit in found.units[unit]])
    write_result(output, arrays, found.provenance.to_dict(), lambda file: draw_top_pictures(excited, file, title))


def _project(
    client: Client, images: Sequence[FoundImage], found: TopUnits, shown: Sequence[int], rule: str, as_json: bool
) -> dict[int, list[ActivatingPicture]]:
    """Project each unit in the pictures that excite it most; each picture is sent once for all its units."""
    from fc7.drawing.explanations import ActivatingPicture

    units_of: dict[int, list[int]] = {}  # index of a picture -> units that it excites most
    for unit in shown:
        for hit in found.units[unit]:
            units_of.setdefault(hit.index, []).append(unit)
    where, excited = found.provenance, dict[tuple[int, int], ActivatingPicture]()
    with progress_bar("project", len(units_of), as_json=as_json) as report:
        for done, (index, units) in enumerate(units_of.items(), 1):
            path = images[index].path
            for start in range(0, len(units), _UNITS_PER_CALL):
                batch = units[start : start + _UNITS_PER_CALL]
                answer = client.explain.unit(path, layer=where.layer, units=batch, rule=rule, model=where.model)
                for projection in answer.projections:
                    excited[projection.place.unit, index] = ActivatingPicture(path, answer.view, projection)
            report(done)
    return {unit: [excited[unit, hit.index] for hit in found.units[unit]] for unit in shown}
