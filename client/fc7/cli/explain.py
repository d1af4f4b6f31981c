"""`fc7 explain`: show in pixels what a network's answers rest on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.explain_output import (
    check_drawable,
    check_result,
    place_facts,
    projection_arrays,
    text_array,
    write_result,
)
from fc7.cli.explain_study import check, correspondence, evolution, invariance
from fc7.cli.explain_top import top
from fc7.cli.image_arguments import ImageLocation, image_argument, local_file
from fc7.cli.options import (
    class_option,
    example,
    explanation_option,
    head_option,
    json_option,
    layer_option,
    model_option,
    positive,
    rule_option,
    strongest_option,
    unit_layer_option,
)
from fc7.cli.output import print_json, print_rows, print_text, printable, progress_bar
from fc7.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fc7 import Client, Match


@click.group()
def explain() -> None:
    """Show which pixels a network's answers rest on."""


explain.add_command(top)
explain.add_command(invariance)
explain.add_command(correspondence)
explain.add_command(evolution)
explain.add_command(check)


@example("fc7 explain unit query.jpg --output unit.png")
@explain.command()
@image_argument
@unit_layer_option
@click.option("--unit", "units", type=click.IntRange(min=0), multiple=True, help="Unit to show. Repeatable.")
@click.option(
    "--position",
    type=click.IntRange(min=0),
    help="Where to look at --unit in its map: row * width + column. Defaults to where it is strongest.",
)
@click.option(
    "--strongest",
    type=click.IntRange(1, 64),
    help="Number of the strongest units to show when no --unit is given. Defaults to 9.",
)
@rule_option
@model_option
@explanation_option
@json_option
@connected
def unit(
    connection: Connection,
    image: Path | str,
    layer: str,
    units: tuple[int, ...],
    position: int | None,
    strongest: int | None,
    rule: str,
    model: str,
    output: Path | None,
    as_json: bool,
) -> None:
    """Show which pixels made the units of a layer fire.

    IMAGE is an image file, a URL (http or https), or - for an image on standard input. Each unit
    is projected to pixels (Zeiler & Fergus 2013, section 2.1) and drawn beside the part of the
    image that it sees.

    Prints the value of each unit, its row and column in the map, and its box: left, top, right
    and bottom, in pixels of the square that the network sees.
    """
    if units and strongest:
        raise click.UsageError("--unit and --strongest exclude each other. Give one of them")
    if position is not None and len(units) != 1:
        raise click.UsageError("--position needs exactly one --unit")
    check_result(output)
    with local_file(image) as file, connection.open() as client:
        found = client.explain.unit(
            file,
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
            write_result(output, arrays, found.provenance.to_dict(), lambda part: draw_units(file, found, part))
    print_rows([place_facts(projection.place) for projection in found.projections], as_json)


@example("fc7 explain match query.jpg beach/1.jpg --collection photos --output why.png")
@explain.command()
@click.argument("query", metavar="A", type=ImageLocation())
@click.argument("neighbour", metavar="B", type=ImageLocation())
@click.option("--collection", help="Use the model and the layer of this collection. B may be the id of an item in it.")
@layer_option
@strongest_option(5)
@rule_option
@model_option
@explanation_option
@json_option
@connected
def match(
    connection: Connection,
    query: Path | str,
    neighbour: Path | str,
    collection: str | None,
    layer: str,
    strongest: int,
    rule: str,
    model: str,
    output: Path | None,
    as_json: bool,
) -> None:
    """Show what makes two pictures similar.

    A and B are image files, URLs (http or https), or - for an image on standard input. The cosine
    of their features is split over the units of a layer and, where that is exact, over positions
    in both pictures.

    Prints the units that contribute most. The contributions of all units and the rest, which
    belongs to no unit, add up to the cosine.
    """
    if collection is not None and (layer or model):
        raise click.UsageError("--collection cannot be combined with --layer or --model, because it has its own")
    check_result(output)
    with local_file(query) as file, connection.open() as client:
        if collection is not None and isinstance(neighbour, Path) and not neighbour.exists():
            neighbour = _stored_image(client, collection, str(neighbour))
        with local_file(neighbour) as other:
            found = client.explain.match(
                file, other, layer=layer, model=model, collection=collection, strongest=strongest, rule=rule
            )
            shares = _largest_shares(found.contributions, found.unit_layer, strongest)
            if as_json:
                print_json({"score": found.score, "unit_layer": found.unit_layer, "rest": found.rest, "units": shares})
            else:
                print_rows(shares, as_json=False)
                print_text(f"cosine {found.score:.4f}, of which {found.rest:.4f} belongs to no unit")
            check_drawable(output, found)
            if output is not None:
                from fc7.drawing.explanations import draw_match

                write_result(
                    output,
                    _match_arrays(found),
                    found.provenance.to_dict(),
                    lambda part: draw_match((file, other), found, part),
                )


@example("fc7 explain class query.jpg --output class.png")
@explain.command(name="class")
@image_argument
@head_option
@class_option
@strongest_option(9)
@rule_option
@model_option
@explanation_option
@json_option
@connected
def class_(
    connection: Connection,
    image: Path | str,
    head: str,
    label: str,
    strongest: int,
    rule: str,
    model: str,
    output: Path | None,
    as_json: bool,
) -> None:
    """Show what supports a class.

    IMAGE is an image file, a URL (http or https), or - for an image on standard input. The logit
    of the class is split over the units of a layer and, where that is exact, over positions; these
    form a class-activation map (Zhou et al. 2016).

    Prints the units that contribute most. The contributions of all units and the rest, which
    belongs to no unit, add up to the logit.
    """
    check_result(output)
    with local_file(image) as file, connection.open() as client:
        found = client.explain.label(file, label=label, head=head, model=model, strongest=strongest, rule=rule)
        shares = _largest_shares(found.contributions, found.unit_layer, strongest)
        facts = {"label": found.label, "probability": found.probability, "logit": found.logit, "rest": found.rest}
        if as_json:
            print_json({**facts, "unit_layer": found.unit_layer, "units": shares})
        else:
            print_rows(shares, as_json=False)
            print_text(
                f"{printable(found.label)} {found.probability:.4f}: logit {found.logit:.4f}, of which "
                f"{found.rest:.4f} belongs to no unit"
            )
        check_drawable(output, found)
        if output is not None:
            from fc7.drawing.explanations import draw_class

            arrays = projection_arrays(found.projections) | {
                "view": found.view.pixels,
                "contributions": found.contributions,
            }
            arrays |= {} if found.positions is None else {"positions": found.positions}
            write_result(output, arrays, found.provenance.to_dict(), lambda part: draw_class(file, found, part))


@example("fc7 explain occlude query.jpg --output occlusion.png")
@explain.command()
@image_argument
@head_option
@class_option
@click.option(
    "--square",
    "square_px",
    type=positive,
    help="Side of the grey square, in pixels of the square that the network sees. Defaults to a quarter of its side.",
)
@click.option(
    "--grid",
    type=click.IntRange(2, 64),
    default=20,
    show_default=True,
    help="Number of positions of the grey square along each side.",
)
@model_option
@explanation_option
@json_option
@connected
def occlude(
    connection: Connection,
    image: Path | str,
    head: str,
    label: str,
    square_px: int | None,
    grid: int,
    model: str,
    output: Path | None,
    as_json: bool,
) -> None:
    """Show how covering parts of an image changes the answer.

    IMAGE is an image file, a URL (http or https), or - for an image on standard input. A grey
    square moves over the image (Zeiler & Fergus 2013, figure 7), which is classified at each position.
    This works with every network.

    Prints the probability of the class in the whole image, the lowest and the highest one under
    the square, and where the lowest one was.
    """
    check_result(output)
    with (
        local_file(image) as file,
        connection.open() as client,
        progress_bar("occlude", grid * grid + 1, as_json=as_json) as report,
    ):
        found = client.explain.occlude(
            file, label=label, head=head, model=model, square_px=square_px or 0, grid=grid, report=report
        )
        if output is not None:
            from fc7.drawing.explanations import draw_occlusion

            arrays: dict[str, NDArray[Any]] = {"view": found.view.pixels, "probabilities": found.probabilities}
            arrays |= {"best": found.best, "labels": text_array(found.labels)}
            arrays |= {} if found.activities is None else {"activities": found.activities}
            write_result(output, arrays, found.provenance.to_dict(), lambda part: draw_occlusion(file, found, part))
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


def _largest_shares(contributions: NDArray[Any], layer: str, count: int) -> list[dict[str, Any]]:
    """Return the units that contribute most, largest first."""
    order = sorted(range(len(contributions)), key=lambda unit: -contributions[unit])[:count]
    return [{"layer": layer, "unit": unit, "contribution": float(contributions[unit])} for unit in order]


def _stored_image(client: Client, collection: str, item_id: str) -> Path | str:
    """Return the path or the URL of an item's picture."""
    item = client.collection(collection).get([item_id])[0]
    if isinstance(item, Exception):
        raise NotFound(
            f"{item_id!r} is neither a file nor an item of collection {collection!r}. Give one of them", name=item_id
        ) from item
    path, url = item.payload.get("path"), item.payload.get("url")
    if isinstance(path, str):
        return Path(path)
    if isinstance(url, str):
        return url
    raise InvalidArgument(
        f"item {item_id!r} has neither payload.path nor payload.url, which would say where its picture is. "
        "Give the file instead",
        name=item_id,
    )
