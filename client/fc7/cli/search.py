"""`fc7 search`: find the nearest items of a collection, and draw them on a sheet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fc7.cli.classify_collection import rank_collection
from fc7.cli.connection import Connection, connected
from fc7.cli.features_file import read_features
from fc7.cli.image_arguments import ImageLocation, read_query
from fc7.cli.options import example, file_type, json_option, positive, where_option
from fc7.cli.output import exit_if_failed, tell_damage
from fc7.cli.search_answers import print_answers, print_reports
from fc7.cli.search_queries import Asked, read_crop
from fc7.cli.search_sheet import check_sheet, draw_sheet
from fc7.errors import Fc7Error

if TYPE_CHECKING:
    from fc7 import Collection, Example, Hits, Search


@example("fc7 search photos query.jpg")
@click.command()
@click.argument("name")
@click.argument("images", nargs=-1, metavar="[IMAGE]...", type=ImageLocation())
@click.option(
    "--id",
    "item_ids",
    multiple=True,
    help="Search with this stored item. It is left out of the results. Repeatable.",
)
@click.option(
    "--features",
    type=file_type,
    metavar="FILE",
    help="Search with every row of a file that `fc7 extract` wrote (.npz).",
)
@click.option(
    "--example",
    "example_images",
    type=(float, ImageLocation()),
    multiple=True,
    metavar="WEIGHT IMAGE",
    help="Look for this image too, or keep away from it if WEIGHT is negative. Each IMAGE and --id has weight 1. "
    "Repeatable.",
)
@click.option(
    "--example-id",
    "example_ids",
    type=(float, str),
    multiple=True,
    metavar="WEIGHT ID",
    help="The same with a stored item, which is left out of the results. Repeatable.",
)
@click.option(
    "--crop",
    callback=read_crop,
    metavar="LEFT,TOP,RIGHT,BOTTOM",
    help="Search with this part of each IMAGE, in fractions of its width and height.",
)
@click.option("-k", "k", type=positive, default=10, show_default=True, help="Number of neighbours to print.")
@click.option(
    "--offset", type=click.IntRange(0, 2**31 - 1), default=0, help="Number of nearest neighbours to pass over first."
)
@where_option
@click.option("--min-score", type=float, help="Leave out neighbours with a lower score.")
@click.option(
    "--max-rarity",
    type=float,
    metavar="SHARE",
    help="Leave out neighbours unless at most this share of random pairs of items is as near, such as 0.001.",
)
@click.option("--rarity", is_flag=True, help="Print the rarity of each neighbour too.")
@click.option(
    "--group-by",
    default="",
    metavar="FIELD",
    help="Group the neighbours by this field of the payload. -k and --offset then count groups.",
)
@click.option("--group-size", type=positive, default=1, help="Neighbours per group. Defaults to 1.")
@click.option(
    "--diversity",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Choose neighbours that are unlike one another: from 0, the nearest, to 1.",
)
@click.option("--exclude-id", "excluded_ids", multiple=True, metavar="ID", help="Leave out this item. Repeatable.")
@click.option("--exact", is_flag=True, help="Compare every item, instead of asking an index that may miss some.")
@click.option(
    "--field", "payload_fields", multiple=True, metavar="FIELD", help="Return only this field of payloads. Repeatable."
)
@click.option("--with-features", is_flag=True, help="Print the feature of each neighbour. Needs --json.")
@click.option(
    "--sheet",
    type=file_type,
    metavar="FILE",
    help="Image file to draw the queries and their neighbours into (.png, .jpg, ...).",
)
@click.option("--class", "label", metavar="LABEL", help="Rank the items by this class of a head instead. Takes --head.")
@click.option("--head", metavar="NAME", help="Published head for --class.")
@click.option(
    "--near-score",
    type=click.FloatRange(0, 1),
    help="With --class, print the items whose probability is nearest to this one. 0.5 looks at the boundary.",
)
@click.option("--verbose", is_flag=True, help="Say which index ran, what was compared, and where the time went.")
@json_option
@connected
def search(
    connection: Connection,
    name: str,
    images: tuple[Path | str, ...],
    item_ids: tuple[str, ...],
    features: Path | None,
    example_images: tuple[tuple[float, Path | str], ...],
    example_ids: tuple[tuple[float, str], ...],
    crop: tuple[float, float, float, float] | None,
    k: int,
    offset: int,
    where: str | None,
    min_score: float | None,
    max_rarity: float | None,
    rarity: bool,
    group_by: str,
    group_size: int,
    diversity: float,
    excluded_ids: tuple[str, ...],
    exact: bool,
    payload_fields: tuple[str, ...],
    with_features: bool,
    sheet: Path | None,
    label: str | None,
    head: str | None,
    near_score: float | None,
    verbose: bool,
    as_json: bool,
) -> None:
    """Find the items nearest to an image or to a stored item.

    IMAGE is an image file, a URL (http or https), or - for an image on standard input. With several
    queries, each line of the results names its query.

    The nearest item comes first. Scores depend on the metric of the collection, and a larger
    score is always nearer. The sheet takes pictures from `payload.path`, and draws a grey tile
    for a picture that is not there.

    With --class, the items that are most probably of a class of a head come first.

    Damaged items are left out; if there are any, a last line says how many: with --json
    {"damaged": N}, otherwise on standard error.

    --where narrows the search to items whose payload matches. A filter can use =, !=, <, <=, >, >=, in,
    between, prefix, contains and exists, and combines them with and, or, not and brackets.
    """
    if label is not None:
        if images or item_ids or features or example_images or example_ids or not head:
            raise click.UsageError("--class takes --head, -k, --near-score and --where, and nothing to search with")
        rank_collection(connection, name, label, head, k, near_score, where, as_json)
        return
    if head or near_score is not None:
        raise click.UsageError("--head and --near-score are for --class")
    if not (images or item_ids or features or example_images or example_ids):
        raise click.UsageError("give an IMAGE, --id, --features, --example or --example-id to search with")
    if crop and not images:
        raise click.UsageError("--crop needs an IMAGE to crop")
    if with_features and not as_json:
        raise click.UsageError("--with-features needs --json")
    if sheet is not None:
        check_sheet(sheet)
    from fc7 import Example, Search

    beside = [Example(read_query(image), weight=weight) for weight, image in example_images]
    beside += [Example(id=own, weight=weight) for weight, own in example_ids]
    names, rows = ([], None) if features is None else read_features(features)
    asked = Asked(images, item_ids, names, rows, crop, beside)
    how = Search(
        k=k,
        offset=offset,
        where=where,
        min_score=min_score,
        max_rarity=max_rarity,
        with_rarity=rarity,
        group_by=group_by,
        group_size=group_size,
        diversity=diversity,
        exclude=excluded_ids,
        exact=exact,
        payload_fields=payload_fields or None,
        with_features=with_features,
        with_recall=verbose,
    )
    with connection.open() as client:
        collection = client.collection(name, check=False)
        answers = _search(collection, asked.queries(), how)
        if sheet is not None:
            draw_sheet(sheet, collection, asked, answers)
    print_answers(asked.titles(), answers, as_json=as_json)
    if verbose:
        print_reports(answers, as_json=as_json)
    damaged = [answer.report.damaged for answer in answers if not isinstance(answer, Fc7Error)]
    tell_damage(name, max(damaged, default=0), as_json=as_json)
    exit_if_failed(sum(isinstance(answer, Fc7Error) for answer in answers))


def _search(collection: Collection, queries: list[list[Example]], how: Search) -> list[Hits | Fc7Error]:
    if len(queries) == 1:
        return [collection.search(examples=queries[0], search=how)]
    return collection.search_many(examples=queries, search=how)
