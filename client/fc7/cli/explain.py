"""`fc7 explain`: why a network answers as it does, drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.explain_output import (
    check_drawable,
    check_result,
    class_option,
    head_option,
    image_argument,
    layer_option,
    output_option,
    place_facts,
    projection_arrays,
    rule_option,
    text_array,
    write_result,
)
from fc7.cli.explain_study import check, correspondence, evolution, invariance
from fc7.cli.explain_top import top
from fc7.cli.options import json_option, model_option, positive
from fc7.cli.output import print_json, print_rows, print_text, progress_bar
from fc7.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fc7 import Client, Match


@click.group()
def explain() -> None:
    """Show what units, matches and classes rest on, in pixels."""


explain.add_command(top)
explain.add_command(invariance)
explain.add_command(correspondence)
explain.add_command(evolution)
explain.add_command(check)


@explain.command()
@image_argument
@layer_option
@click.option("--unit", "units", type=click.IntRange(min=0), multiple=True, help="Unit; may be given again.")
@click.option(
    "--position", type=click.IntRange(min=0), help="Row * width + column of --unit; without: where it is strongest."
)
@click.option("--strongest", type=click.IntRange(1, 64), help="So many of the strongest units; without --unit: 9.")
@rule_option
@model_option
@output_option
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
    check_result(output)
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
        from fc7.drawing.explanations import draw_units

        arrays = projection_arrays(found.projections) | {"view": found.view.pixels}
        write_result(output, arrays, found.provenance.to_dict(), lambda file: draw_units(image, found, file))
    print_rows([place_facts(one.place) for one in found.projections], as_json)


@explain.command()
@click.argument("query", metavar="A", type=click.Path(path_type=Path))
@click.argument("neighbour", metavar="B")
@click.option("--collection", help="Take its model and layer; B may be the id of an item of it.")
@click.option("--layer", default="", help="Layer whose cosine is split; without: the model's default.")
@click.option("--strongest", type=click.IntRange(1, 64), default=5, show_default=True, help="Units to project.")
@rule_option
@model_option
@output_option
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
    check_result(output)
    with connection.open() as client:
        other = Path(neighbour)
        if collection is not None and not other.exists():
            other = _stored_path(client, collection, neighbour)
        found = client.explain.match(
            query, other, layer=layer, model=model, collection=collection, strongest=strongest, rule=rule
        )
    shares = _shares(found.contributions, found.unit_layer, strongest)
    if as_json:
        print_json({"score": found.score, "unit_layer": found.unit_layer, "rest": found.rest, "units": shares})
    else:
        print_rows(shares, as_json=False)
        print_text(f"cosine {found.score:.4f}; {found.rest:.4f} of it belongs to no unit")
    check_drawable(output, found)
    if output is not None:
        from fc7.drawing.explanations import draw_match

        write_result(
            output,
            _match_arrays(found),
            found.provenance.to_dict(),
            lambda file: draw_match((query, other), found, file),
        )


@explain.command(name="class")
@image_argument
@head_option
@class_option
@click.option("--strongest", type=click.IntRange(1, 64), default=9, show_default=True, help="Units to project.")
@rule_option
@model_option
@output_option
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
    check_result(output)
    with connection.open() as client:
        found = client.explain.label(image, label=label, head=head, model=model, strongest=strongest, rule=rule)
    shares = _shares(found.contributions, found.unit_layer, strongest)
    facts = {"label": found.label, "probability": found.probability, "logit": found.logit, "rest": found.rest}
    if as_json:
        print_json({**facts, "unit_layer": found.unit_layer, "units": shares})
    else:
        print_rows(shares, as_json=False)
        print_text(
            f"{found.label} {found.probability:.4f}: logit {found.logit:.4f}; {found.rest:.4f} belongs to no unit"
        )
    check_drawable(output, found)
    if output is not None:
        from fc7.drawing.explanations import draw_class

        arrays = projection_arrays(found.projections) | {
            "view": found.view.pixels,
            "contributions": found.contributions,
        }
        arrays |= {} if found.positions is None else {"positions": found.positions}
        write_result(output, arrays, found.provenance.to_dict(), lambda file: draw_class(image, found, file))


@explain.command()
@image_argument
@head_option
@class_option
@click.option("--square", "square_px", type=positive, help="Side in pixels of the view; without: a quarter.")
@click.option("--grid", type=click.IntRange(2, 64), default=20, show_default=True, help="Views along each side.")
@model_option
@output_option
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
    check_result(output)
    with connection.open() as client, progress_bar("occlude", grid * grid + 1, as_json=as_json) as report:
        found = client.explain.occlude(
            image, label=label, head=head, model=model, square_px=square_px or 0, grid=grid, report=report
        )
    if output is not None:
        from fc7.drawing.explanations import draw_occlusion

        arrays: dict[str, NDArray[Any]] = {"view": found.view.pixels, "probabilities": found.probabilities}
        arrays |= {"best": found.best, "labels": text_array(found.labels)}
        arrays |= {} if found.activities is None else {"activities": found.activities}
        write_result(output, arrays, found.provenance.to_dict(), lambda file: draw_occlusion(image, found, file))
    low, high = float(found.probabilities.min()), float(found.probabilities.max())
    row, column = divmod(int(found.probabilities.argmin()), grid)
    facts = {"label": found.label, "probability": found.probability, "lowest": low, "highest": high}
    print_rows([{**facts, "lowest_row": row, "lowest_column": column, "square_px": found.square_px}], as_json)


def _match_arrays(found: Match) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {"contributions": found.contributions}
    for name, side in (("query", found.query), ("neighbour", found.neighbour)):
        arrays |= projection_arrays(side.projections, name) | {f"{name}_view": side.view.pixels}
        arrays |= {} if side.positions is None else {f"{name}_positions": side.positions}
    return arrays


def _shares(contributions: NDArray[Any], layer: str, count: int) -> list[dict[str, Any]]:
    """Return the units that carry most, most first."""
    order = sorted(range(len(contributions)), key=lambda unit: -contributions[unit])[:count]
    return [{"layer": layer, "unit": unit, "contribution": float(contributions[unit])} for unit in order]


def _stored_path(client: Client, collection: str, item_id: str) -> Path:
    item = client.collection(collection).get([item_id])[0]
    if isinstance(item, Exception):
        raise NotFound(f"{item_id!r} is neither a file nor an item of {collection!r}: name one", name=item_id) from item
    path = item.payload.get("path")
    if not isinstance(path, str):
        raise InvalidArgument(f"item {item_id!r} names no picture in payload.path: give the file", name=item_id)
    return Path(path)
