"""`fc7 search`: find the nearest items of a collection, and draw them on a sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fc7.cli.classify_collection import rank_collection
from fc7.cli.connection import Connection, connected
from fc7.cli.features_file import read_features
from fc7.cli.image_arguments import ImageLocation, as_text, read_query
from fc7.cli.options import example, file_type, json_option, positive, where_option
from fc7.cli.output import check_writable, exit_if_failed, print_json, print_note, print_table, print_text, tell_damage
from fc7.errors import Fc7Error

if TYPE_CHECKING:
    from fc7 import Collection, Example, Features, Hit, Hits, Search


@dataclass(slots=True)
class _Asked:
    """The queries of a command line: images, ids and rows of features, each with the examples beside them."""

    images: tuple[Path | str, ...]
    ids: tuple[str, ...]
    names: list[str]  # of the rows of features
    features: Features | None
    crop: tuple[float, float, float, float] | None
    beside: list[Example]

    def titles(self) -> list[str]:
        """Return what to call each query."""
        images = [as_text(image) if isinstance(image, Path) else image for image in self.images]
        return [*images, *self.ids, *self.names] or ["examples"]

    def queries(self) -> list[list[Example]]:
        """Return the examples of each query."""
        from fc7 import Example

        first = [Example(read_query(image), crop=self.crop) for image in self.images]
        first += [Example(id=own) for own in self.ids]
        if self.features is not None:
            first += [Example(features=self.features[i]) for i in range(len(self.features))]
        return [[one, *self.beside] for one in first] or [self.beside]


def _read_crop(
    context: click.Context, option: click.Parameter, value: str | None
) -> tuple[float, float, float, float] | None:
    if value is None:
        return None
    try:
        left, top, right, bottom = map(float, value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not LEFT,TOP,RIGHT,BOTTOM, such as 0,0,0.5,1") from None
    return left, top, right, bottom


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
    callback=_read_crop,
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
        _check_sheet(sheet)
    from fc7 import Example, Search

    beside = [Example(read_query(image), weight=weight) for weight, image in example_images]
    beside += [Example(id=own, weight=weight) for weight, own in example_ids]
    names, rows = ([], None) if features is None else read_features(features)
    asked = _Asked(images, item_ids, names, rows, crop, beside)
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
        titles = asked.titles()
        if sheet is not None:
            _draw(sheet, [_query_tile(collection, asked, i, own) for i, own in enumerate(titles)], answers)
    _print(titles, answers, as_json=as_json)
    if verbose:
        _print_report(answers, as_json=as_json)
    damaged = [answer.report.damaged for answer in answers if not isinstance(answer, Fc7Error)]
    tell_damage(name, max(damaged, default=0), as_json=as_json)
    exit_if_failed(sum(isinstance(answer, Fc7Error) for answer in answers))


def _search(collection: Collection, queries: list[list[Example]], how: Search) -> list[Hits | Fc7Error]:
    if len(queries) == 1:
        return [collection.search(examples=queries[0], search=how)]
    return collection.search_many(examples=queries, search=how)


def _print(names: Sequence[str], answers: Sequence[Hits | Fc7Error], *, as_json: bool) -> None:
    """Print the hits; a line names its query only if there are several."""
    several = ["query"] if len(names) > 1 else []
    hits = [(name, hit) for name, answer in zip(names, answers, strict=True) for hit in _hits_of(name, answer)]
    if as_json:
        for name, hit in hits:
            print_json(dict.fromkeys(several, name) | _facts(hit))
        return
    extra = [column for column in ("group", "rarity") if any(getattr(hit, column) is not None for _, hit in hits)]
    rows = [
        [
            *([name] if several else []),
            hit.id,
            hit.score,
            *(getattr(hit, one) for one in extra),
            hit.payload.get("label"),
        ]
        for name, hit in hits
    ]
    print_table((*several, "id", "score", *extra, "label"), rows)


def _hits_of(name: str, answer: Hits | Fc7Error) -> Sequence[Hit]:
    """Return the hits of a query; note the error of one that failed."""
    if isinstance(answer, Fc7Error):
        print_note(name, answer)
        return []
    return answer


def _facts(hit: Hit) -> dict[str, Any]:
    facts = {"id": hit.id, "score": hit.score, "payload": hit.payload}
    if hit.rarity is not None:
        facts["rarity"] = hit.rarity
    if hit.group is not None:
        facts["group"] = hit.group
    return facts if hit.feature is None else facts | {"feature": hit.feature.tolist()}


def _print_report(answers: Sequence[Hits | Fc7Error], *, as_json: bool) -> None:
    """Print how the calls were answered: one line per call, or one JSON object after the hits."""
    reports = {id(answer.report): answer.report for answer in answers if not isinstance(answer, Fc7Error)}
    for report in reports.values():
        if as_json:
            print_json({"report": report.to_dict()})
            continue
        stages = ", ".join(f"{stage} {1000 * seconds:.1f} ms" for stage, seconds in report.seconds.items())
        codes = f" and {report.codes_compared} codes" if report.codes_compared else ""
        compared = f"compared {report.vectors_compared} vectors{codes}"
        if report.rarity_pairs:
            compared += f"; rarity from {report.rarity_pairs} random pairs"
        if report.recall is not None and report.recall.queries:
            compared += f"; recall@10 of recent queries {report.recall.value:.4f}"
        print_text(f"index {report.index}: {compared}; {stages}", err=True)


def _query_tile(collection: Collection, asked: _Asked, i: int, name: str) -> tuple[str, dict[str, Any]]:
    """Return the title and the payload of a query's tile."""
    if i < len(asked.images):
        image = asked.images[i]
        return name, {"path": str(image)} if isinstance(image, Path) else {}
    return name, _stored_payload(collection, name) if name in asked.ids else {}


def _stored_payload(collection: Collection, item_id: str) -> dict[str, Any]:
    item = collection.get([item_id])[0]
    if isinstance(item, Fc7Error):
        raise item
    return item.payload


def _check_sheet(sheet: Path) -> None:
    from fc7.drawing.page import check_format

    check_format(sheet)
    check_writable(sheet)


def _draw(sheet: Path, queries: Sequence[tuple[str, dict[str, Any]]], answers: Sequence[Hits | Fc7Error]) -> None:
    from fc7.drawing.contact_sheet import QueryRow, Tile, draw_contact_sheet

    rows = []
    for (title, payload), answer in zip(queries, answers, strict=True):
        hits = [] if isinstance(answer, Fc7Error) else answer
        tiles = [Tile(_path(hit.payload), (hit.id, f"{hit.score:.4f}", _label(hit.payload))) for hit in hits]
        rows.append(QueryRow(Tile(_path(payload), ("query", title, _label(payload))), tiles))
    draw_contact_sheet(rows, sheet)


def _path(payload: dict[str, Any]) -> Path | None:
    path = payload.get("path")
    return Path(path) if isinstance(path, str) else None


def _label(payload: dict[str, Any]) -> str:
    return str(payload.get("label", ""))
