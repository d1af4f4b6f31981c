"""`fc7 explain`: why a network answers as it does, drawn."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fc7.cli.images import Found, find_images
from fc7.cli.output import check_output, complain, emit, end, json_option, progress, table
from fc7.cli.setting import Connection, connected
from fc7.errors import FailedPrecondition, InvalidArgument, NotFound

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fc7 import Client, Match, Place, Projection, TopUnits

_RANDOM = "random:"
_SEED = 7
_PICTURE = click.Path(path_type=Path)

_image = click.argument("image", type=_PICTURE)
_layer = click.option("--layer", default="conv5", show_default=True, help="Layer whose units are meant.")
_model = click.option("--model", default="", help="Model to use; without: the server's first.")
_head = click.option("--head", default="", help="Published head; without: the network's own classes.")
_label = click.option("--class", "label", default="", metavar="LABEL", help="Class; without: the most probable.")
_output = click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Drawing (.png, ...) or arrays (.npz).",
)
_rule = click.option(
    "--rule",
    type=click.Choice(["deconv", "gradient", "guided"]),
    default="deconv",
    show_default=True,
    help="How a unit is carried down to the pixels.",
)


@click.group()
def explain() -> None:
    """Show what units, matches and classes rest on, in pixels."""


@explain.command()
@_image
@_layer
@click.option("--unit", "units", type=click.IntRange(min=0), multiple=True, help="Unit; may be given again.")
@click.option(
    "--position", type=click.IntRange(min=0), help="Row * width + column of --unit; without: where it is strongest."
)
@click.option("--strongest", type=click.IntRange(1, 64), help="So many of the strongest units; without --unit: 9.")
@_rule
@_model
@_output
@json_option
@connected
def unit(
    connection: Connection,
    image: Path,
    layer: str,
    units: tuple[int, ...],
    position: int | None,
    strongest: int | None,
    rule: str,
    model: str,
    output: Path | None,
    as_json: bool,
) -> None:
    """Show the pixels that made units of a layer fire, beside what they see of IMAGE.

    Zeiler & Fergus 2013, section 2.1.
    """
    if units and strongest:
        raise click.UsageError("give either --unit or --strongest")
    if position is not None and len(units) != 1:
        raise click.UsageError("--position goes with one --unit")
    _check(output)
    with connection.open() as client:
        found = client.explain.unit(
            image,
            layer=layer,
            units=units,
            positions=() if position is None else (position,),
            strongest=strongest or 9,
            rule=rule,
            model=model,
        )
    if output is not None:
        from fc7.cli.plate import draw_units

        arrays = _arrays(found.projections) | {"view": found.view.pixels}
        _write(output, arrays, found.provenance.to_dict(), lambda file: draw_units(image, found, file))
    _print([_facts(one.place) for one in found.projections], as_json)


@explain.command()
@click.argument("folder", required=False, type=_PICTURE)
@click.option("--collection", help="Take the pictures that the items of this collection name in payload.path.")
@_layer
@click.option("--units", default="random:16", show_default=True, metavar="N,N,...|random:N", help="Units to show.")
@_rule
@_model
@_output
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
    _check(output)
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
    _print([_facts(i.place) | {"id": images[i.index].id} for unit in shown for i in found.units[unit]], as_json)
    end(len(found.failed))


@explain.command()
@click.argument("query", metavar="A", type=_PICTURE)
@click.argument("neighbour", metavar="B")
@click.option("--collection", help="Take its model and layer; B may be the id of an item of it.")
@click.option("--layer", default="", help="Layer whose cosine is split; without: the model's default.")
@click.option("--strongest", type=click.IntRange(1, 64), default=5, show_default=True, help="Units to project.")
@_rule
@_model
@_output
@json_option
@connected
def match(
    connection: Connection,
    query: Path,
    neighbour: str,
    collection: str | None,
    layer: str,
    strongest: int,
    rule: str,
    model: str,
    output: Path | None,
    as_json: bool,
) -> None:
    """Split the cosine of two pictures over units and, where that is exact, over positions."""
    if collection is not None and (layer or model):
        raise click.UsageError("--layer and --model go without --collection, which has its own")
    _check(output)
    with connection.open() as client:
        other = Path(neighbour)
        if collection is not None and not other.exists():
            other = _stored_path(client, collection, neighbour)
        found = client.explain.match(
            query, other, layer=layer, model=model, collection=collection, strongest=strongest, rule=rule
        )
    if output is not None:
        from fc7.cli.plate import draw_match

        _write(
            output,
            _match_arrays(found),
            found.provenance.to_dict(),
            lambda file: draw_match((query, other), found, file),
        )
    shares = _shares(found.contributions, found.unit_layer, strongest)
    if as_json:
        emit({"score": found.score, "unit_layer": found.unit_layer, "rest": found.rest, "units": shares})
    else:
        _print(shares, as_json)
        click.echo(f"cosine {found.score:.4f}; {found.rest:.4f} of it belongs to no unit")


@explain.command(name="class")
@_image
@_head
@_label
@click.option("--strongest", type=click.IntRange(1, 64), default=9, show_default=True, help="Units to project.")
@_rule
@_model
@_output
@json_option
@connected
def class_(
    connection: Connection,
    image: Path,
    head: str,
    label: str,
    strongest: int,
    rule: str,
    model: str,
    output: Path | None,
    as_json: bool,
) -> None:
    """Split the logit of a class over units and, where that is exact, over positions."""
    _check(output)
    with connection.open() as client:
        found = client.explain.label(image, label=label, head=head, model=model, strongest=strongest, rule=rule)
    if output is not None:
        from fc7.cli.plate import draw_class

        arrays = _arrays(found.projections) | {"view": found.view.pixels, "contributions": found.contributions}
        arrays |= {} if found.positions is None else {"positions": found.positions}
        _write(output, arrays, found.provenance.to_dict(), lambda file: draw_class(image, found, file))
    shares = _shares(found.contributions, found.unit_layer, strongest)
    facts = {"label": found.label, "probability": found.probability, "logit": found.logit, "rest": found.rest}
    if as_json:
        emit({**facts, "unit_layer": found.unit_layer, "units": shares})
    else:
        _print(shares, as_json)
        click.echo(
            f"{found.label} {found.probability:.4f}: logit {found.logit:.4f}; {found.rest:.4f} belongs to no unit"
        )


@explain.command()
@_image
@_head
@_label
@click.option(
    "--square", "square_px", type=click.IntRange(min=1), help="Side in pixels of the view; without: a quarter."
)
@click.option("--grid", type=click.IntRange(2, 64), default=20, show_default=True, help="Views along each side.")
@_model
@_output
@json_option
@connected
def occlude(
    connection: Connection,
    image: Path,
    head: str,
    label: str,
    square_px: int | None,
    grid: int,
    model: str,
    output: Path | None,
    as_json: bool,
) -> None:
    """Sweep a grey square over IMAGE and map what the network makes of each view.

    Zeiler & Fergus 2013, figure 7.
    """
    _check(output)
    with connection.open() as client, progress("occlude", grid * grid + 1, as_json=as_json) as report:
        found = client.explain.occlude(
            image, label=label, head=head, model=model, square_px=square_px or 0, grid=grid, report=report
        )
    if output is not None:
        from fc7.cli.plate import draw_occlusion

        arrays: dict[str, NDArray[Any]] = {"view": found.view.pixels, "probabilities": found.probabilities}
        arrays |= {"best": found.best, "labels": _text(found.labels)}
        arrays |= {} if found.activities is None else {"activities": found.activities}
        _write(output, arrays, found.provenance.to_dict(), lambda file: draw_occlusion(image, found, file))
    low, high = float(found.probabilities.min()), float(found.probabilities.max())
    row, column = divmod(int(found.probabilities.argmin()), grid)
    facts = {"label": found.label, "probability": found.probability, "lowest": low, "highest": high}
    _print([{**facts, "lowest_row": row, "lowest_column": column, "square_px": found.square_px}], as_json)


def _check(output: Path | None) -> None:
    """Refuse, before the work, a file that could not be written after it."""
    if output is None:
        return
    if output.suffix != ".npz":
        from fc7.cli.sheet import check_format

        check_format(output)
    check_output(output)


def _write(
    output: Path, arrays: Mapping[str, NDArray[Any]], provenance: dict[str, str], draw: Callable[[Path], None]
) -> None:
    """Write the arrays or the drawing, whole or not at all."""
    import numpy as np

    part = output.with_name(f".part-{output.name}")  # the suffix names the format
    try:
        if output.suffix == ".npz":
            np.savez(part, **arrays, provenance=_text(json.dumps(provenance)))  # type: ignore[arg-type]
        else:
            draw(part)
        os.replace(part, output)
    finally:
        part.unlink(missing_ok=True)


def _text(value: Any) -> NDArray[Any]:
    import numpy as np

    return np.array(value)


def _arrays(projections: Sequence[Projection], name: str = "projections") -> dict[str, NDArray[Any]]:
    """Return projections (N, P, P, 3), their units, positions and boxes; none where there are none."""
    import numpy as np

    if not projections:
        return {}
    places = [one.place for one in projections]
    return {
        name: np.stack([one.pixels for one in projections]),
        "units": np.array([place.unit for place in places]),
        f"{name}_values": np.array([place.value for place in places], np.float32),
        f"{name}_places": np.array([(place.y, place.x) for place in places]),
        f"{name}_boxes": np.array([place.box for place in places]),
    }


def _match_arrays(found: Match) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {"contributions": found.contributions}
    for name, side in (("query", found.query), ("neighbour", found.neighbour)):
        arrays |= _arrays(side.projections, name) | {f"{name}_view": side.view.pixels}
        arrays |= {} if side.positions is None else {f"{name}_positions": side.positions}
    return arrays


def _facts(place: Place) -> dict[str, Any]:
    return {"unit": place.unit, "value": place.value, "row": place.y, "column": place.x, "box": list(place.box)}


def _shares(contributions: NDArray[Any], layer: str, count: int) -> list[dict[str, Any]]:
    """Return the units that carry most, most first."""
    order = sorted(range(len(contributions)), key=lambda unit: -contributions[unit])[:count]
    return [{"layer": layer, "unit": unit, "contribution": float(contributions[unit])} for unit in order]


def _print(rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        for row in rows:
            emit(row)
    elif rows:
        table(tuple(rows[0]), [tuple(row.values()) for row in rows])


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


def _stored_path(client: Client, collection: str, item_id: str) -> Path:
    item = client.collection(collection).get([item_id])[0]
    if isinstance(item, Exception):
        raise NotFound(f"{item_id!r} is neither a file nor an item of {collection!r}: name one", name=item_id) from item
    path = item.payload.get("path")
    if not isinstance(path, str):
        raise InvalidArgument(f"item {item_id!r} names no picture in payload.path: give the file", name=item_id)
    return Path(path)


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
    arrays = _arrays([one.projection for one in every])
    arrays["ids"] = _text([images[one.index].id for unit in shown for one in found.units[unit]])
    title = f"{provenance.model} {provenance.layer}: the nine of {len(images)} pictures that excite each unit most"
    _write(output, arrays, provenance.to_dict(), lambda file: draw_top(excited, file, title))
