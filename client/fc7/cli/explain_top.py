"""`fc7 explain top`: the pictures that excite units most."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.explain_output import (
    check_result,
    layer_option,
    output_option,
    place_facts,
    projection_arrays,
    rule_option,
    text_array,
    write_result,
)
from fc7.cli.folder_scan import FolderScan
from fc7.cli.image_arguments import FoundImage, find_images, finish
from fc7.cli.options import exclude_option, json_option, model_option
from fc7.cli.output import print_note, print_rows, progress_bar
from fc7.errors import FailedPrecondition

if TYPE_CHECKING:
    from fc7 import Client, Collection, TopUnits
    from fc7.drawing.explanations import ActivatingPicture

_RANDOM = "random:"
_SEED = 7
_DRAWN = 64  # units of a drawing: nine projections of each are held at a time
_TOGETHER = 16  # units of a call: at 224 px a projection takes 600 kB


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--collection", help="Take its model, and the pictures that its items name in payload.path.")
@layer_option
@click.option("--units", default="random:16", show_default=True, metavar="N,N,...|random:N", help="Units to show.")
@rule_option
@model_option
@output_option
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
    """Find the nine pictures that excite each unit most; draw patches and projections.

    Zeiler & Fergus 2013, figure 2. The server remembers the pass over the pictures: other units of the same
    layer cost none.
    """
    if (folder is None) == (collection is None):
        raise click.UsageError("give either FOLDER or --collection C")
    if collection is not None and scan.exclude:
        raise click.UsageError("--exclude goes with FOLDER: of a collection all items are taken")
    check_result(output)
    named, n_random = _chosen(units)
    if output is not None and (count := len(named) or n_random) > _DRAWN:
        raise click.UsageError(f"--units asks for {count}: at most {_DRAWN} are drawn or kept; give fewer at a time")
    with connection.open() as client:
        if folder is not None:
            images = find_images([folder], scan)
        else:
            stored = client.collection(str(collection))
            images, model = _pictures(stored), model or stored.provenance.model
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
        [place_facts(i.place) | {"id": images[i.index].id} for unit in shown for i in found.units[unit]], as_json
    )
    finish(scan, len(found.failed))


def _chosen(text: str) -> tuple[list[int], int]:
    """Return the units that are named, or how many are to be drawn by lot."""
    is_random, numbers = text.startswith(_RANDOM), text.removeprefix(_RANDOM).split(",")
    is_known = all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers)
    if not is_known or (is_random and (len(numbers) > 1 or int(numbers[0]) == 0)):
        raise click.UsageError(f"--units {text!r} is neither N,N,... nor {_RANDOM}N")
    return ([], int(numbers[0])) if is_random else (list(dict.fromkeys(map(int, numbers))), 0)


def _pictures(collection: Collection) -> list[FoundImage]:
    """Return the pictures that a collection's items name; those without one are said."""
    found = []
    for item in collection.items():
        path = item.payload.get("path")
        if isinstance(path, str):
            found.append(FoundImage(item.id, Path(path)))
        else:
            print_note(item.id, "no payload.path says where its picture is")
    if not found:
        raise FailedPrecondition(
            f"no item of collection {collection.name!r} names its picture in payload.path: add them with `fc7 add`",
            name=collection.name,
        )
    return found


def _write(
    output: Path, images: Sequence[FoundImage], found: TopUnits, excited: Mapping[int, Sequence[ActivatingPicture]]
) -> None:
    from fc7.drawing.explanations import draw_top_pictures

    where = f"{found.provenance.model} {found.provenance.layer}"
    title = f"{where}: for each unit the nine pictures, of {len(images)}, that activate it most"
    arrays = projection_arrays([one.projection for row in excited.values() for one in row])
    arrays["ids"] = text_array([images[one.index].id for unit in excited for one in found.units[unit]])
    write_result(output, arrays, found.provenance.to_dict(), lambda file: draw_top_pictures(excited, file, title))


def _project(
    client: Client, images: Sequence[FoundImage], found: TopUnits, shown: Sequence[int], rule: str, as_json: bool
) -> dict[int, list[ActivatingPicture]]:
    """Project each unit in the pictures that excite it most; a picture is sent for all of its units."""
    from fc7.drawing.explanations import ActivatingPicture

    units_of: dict[int, list[int]] = {}  # picture -> those that it excites most
    for unit in shown:
        for one in found.units[unit]:
            units_of.setdefault(one.index, []).append(unit)
    where, excited = found.provenance, dict[tuple[int, int], ActivatingPicture]()
    with progress_bar("project", len(units_of), as_json=as_json) as report:
        for done, (index, units) in enumerate(units_of.items(), 1):
            path = images[index].path
            for start in range(0, len(units), _TOGETHER):
                some = units[start : start + _TOGETHER]
                answer = client.explain.unit(path, layer=where.layer, units=some, rule=rule, model=where.model)
                for projection in answer.projections:
                    excited[projection.place.unit, index] = ActivatingPicture(path, answer.view, projection)
            report(done)
    return {unit: [excited[unit, one.index] for one in found.units[unit]] for unit in shown}
