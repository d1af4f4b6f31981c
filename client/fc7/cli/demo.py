"""`fc7 demo`: real pictures through the whole of fc7, against a real server process."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fc7.cli.folder_scan import FolderScan
from fc7.cli.image_arguments import find_images, finish
from fc7.cli.output import print_table, print_text, progress_bar
from fc7.demo.pixel_baseline import nearest, raw_values, ridge_labels
from fc7.demo.views import Photograph, View, scikit_image_photographs, take_views
from fc7.errors import Fc7Error, InvalidArgument, Unavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from fc7 import Client, Hit

_K = 10
_MOST = 30  # photographs: of each 66 views are taken
_ROWS = 8  # queries on the sheet
_COLLECTION, _HEAD, _FACES = "photographs", "photograph", "faces"
_RIGHT, _WRONG = "#2da44e", "#cf222e"
_STOP_S = 30.0


@click.command()
@click.option(
    "--data-from",
    type=click.Path(path_type=Path, file_okay=False),
    help="Your own photographs, each its own class; of more than 30, 30 evenly along their sorted names.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default="demo",
    show_default=True,
    help="Folder of search.png, why.png and result.json.",
)
def demo(data_from: Path | None, output: Path) -> None:
    """Take real pictures through the whole of fc7.

    Starts a server process, takes 66 views each of twenty photographs (or of each of yours),
    indexes one half and looks for it with the other, trains a head on the one half, publishes
    it to the running server and classifies the other. Writes OUTPUT/search.png,
    OUTPUT/result.json and OUTPUT/why.png: why the first hit is a neighbour.
    """
    output.mkdir(parents=True, exist_ok=True)
    clock, scan = Clock(), FolderScan()
    with tempfile.TemporaryDirectory(prefix="fc7-demo-") as scratch:
        with clock.step("views"):
            views = _views(data_from, Path(scratch) / "views", scan)
        items, queries = views[::2], views[1::2]
        with contextlib.ExitStack() as stack:
            with clock.step("start server"):
                client = stack.enter_context(_server(Path(scratch)))
            figures, hit = _photographs(client, clock, items, queries, output / "search.png")
            figures |= _faces(client, clock)
            with clock.step("explain"):
                said = draw_why(client, queries[0].path, hit, output / "why.png")
            with clock.step("stop server"):
                stack.close()
    result = {
        **figures,
        "seconds": sum(clock.seconds.values()),
        "photographs": len({view.photo for view in views}),
        "indexed": len(items),
        "queries": len(queries),
        "steps": clock.seconds,
    }
    (output / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    _show(result, output)
    print_text(said)
    finish(scan, 0)


@dataclass(slots=True)
class Clock:
    """Says on standard error which step is under way, and times it."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Name and time one step."""
        print_text(f"{name} ...", err=True)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


def own_photographs(folder: Path, scan: FolderScan) -> list[Photograph]:
    """Return the photographs of a folder, two at least.

    Raises
    ------
    InvalidArgument
        There are fewer: a head tells classes apart.
    """
    found = find_images([folder], scan)
    if len(found) < 2:
        raise InvalidArgument(f"{str(folder)!r} holds one photograph: two at least", name=str(folder))
    return [Photograph(image.id, image.path) for image in found]


def _views(data_from: Path | None, folder: Path, scan: FolderScan) -> list[View]:
    photos = scikit_image_photographs() if data_from is None else own_photographs(data_from, scan)
    if len(photos) > _MOST:
        print_text(f"{len(photos)} photographs: {_MOST} are taken, evenly along their sorted names", err=True)
        photos = [photos[i * len(photos) // _MOST] for i in range(_MOST)]
    with progress_bar("views", len(photos)) as report:
        return take_views(photos, folder, report)


@contextlib.contextmanager
def _server(scratch: Path) -> Iterator[Client]:
    """Run `fc7 serve` on a free port over a data folder of its own, with no setting of the caller's.

    Yields a client of it.
    """
    import fc7

    command = [sys.executable, "-m", "fc7", "serve", "--listen", "127.0.0.1:0", "--data", str(scratch / "data")]
    log = scratch / "server.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FC7_")}  # noqa: TID251
    with (
        log.open("w", encoding="utf-8") as stderr,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=scratch, env=environment
        ) as server,
    ):
        try:
            assert server.stdout is not None
            _, said, address = server.stdout.readline().strip().partition("listening on ")
            if not said:
                raise Unavailable(f"the server did not start: {_end_of(log)}")
            with fc7.connect(address) as client:
                yield client
        finally:
            server.terminate()
            try:
                server.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                server.kill()
    if server.returncode:
        raise Unavailable(f"the server ended with {server.returncode}, not 0: {_end_of(log)}")


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace").strip()[-500:] or "it said nothing"


def _photographs(
    client: Client, clock: Clock, items: Sequence[View], queries: Sequence[View], sheet: Path
) -> tuple[dict[str, float], Hit]:
    """Search and classify the queries, by features and by raw values; return also the first query's first hit."""
    wanted = [view.photo for view in queries]
    with clock.step("index"), progress_bar("index", len(items)) as advance:
        added = client.create_collection(_COLLECTION).add(
            [view.path for view in items],
            ids=[_id(view) for view in items],
            payloads=[{"path": str(view.path), "label": view.photo} for view in items],
            report=_counter(advance),
        )
    for item in added:
        if item.error is not None:
            raise item.error
    with clock.step("search"):
        answers = client.collection(_COLLECTION).search_many([view.path for view in queries], k=_K)
        hits = [_answer(answer) for answer in answers]
    with clock.step("train head"):
        client.train_head(_HEAD, collection=_COLLECTION)
    with clock.step("publish head"):
        client.publish_head(_HEAD)
    with clock.step("classify"), progress_bar("classify", len(queries)) as report:
        classified = client.classify([view.path for view in queries], head=_HEAD, report=report)
    with clock.step("raw values"):
        x, z = (raw_values([_open(view.path) for view in half]) for half in (items, queries))
        rows = nearest(z, x, _K)
        raw_labels = ridge_labels(x, [view.photo for view in items], z)
    with clock.step("draw"):
        _draw(queries, hits, sheet)
    figures = {
        "accuracy": _share(wanted, [answer.label for answer in classified]),
        "precision_at_10": _precision(wanted, [[str(hit.payload["label"]) for hit in row] for row in hits]),
        "raw_accuracy": _share(wanted, raw_labels),
        "raw_precision_at_10": _precision(wanted, [[items[i].photo for i in row] for row in rows]),
    }
    return figures, hits[0][0]


def _faces(client: Client, clock: Clock) -> dict[str, float]:
    """Train a head on real labels, faces or not, 100 pictures; classify another 100."""
    import skimage.data
    from PIL import Image

    with clock.step("faces"):
        lfw = skimage.data.lfw_subset()  # type: ignore[no-untyped-call]
        pictures = (lfw * 255).round().astype("uint8")  # (200, 25, 25); the first 100 are faces
        images = [Image.fromarray(picture).convert("RGB") for picture in pictures]
        labels = ["face"] * 100 + ["no face"] * 100
        client.train_head(_FACES, images=[_pixels(image) for image in images[::2]], labels=labels[::2])
        client.publish_head(_FACES)
        classified = client.classify([_pixels(image) for image in images[1::2]], head=_FACES)
        raw_labels = ridge_labels(raw_values(images[::2]), labels[::2], raw_values(images[1::2]))
    return {
        "faces_accuracy": _share(labels[1::2], [answer.label for answer in classified]),
        "faces_raw_accuracy": _share(labels[1::2], raw_labels),
    }


def draw_why(client: Client, query: Path, hit: Hit, file: Path) -> str:
    """Draw why a hit of the collection is a neighbour, where the network has a deconvnet; return what to say of it."""
    from fc7.drawing.explanations import draw_match

    neighbour = Path(str(hit.payload["path"]))
    found = client.explain.match(query, neighbour, collection=_COLLECTION)
    if not found.query.projections:
        file.unlink(missing_ok=True)  # of an earlier run
        return f"{file} is left out: model {found.provenance.model!r} has no deconvnet"
    draw_match((query, neighbour), found, file)
    return f"{file} shows why the first query's first hit is its neighbour"


def _id(view: View) -> str:
    return f"{view.photo}/{view.path.name}"


def _counter(advance: Callable[[int], None]) -> Callable[[object], None]:
    done = 0

    def count(_: object) -> None:
        nonlocal done
        done += 1
        advance(done)

    return count


def _answer(answer: list[Hit] | Fc7Error) -> list[Hit]:
    if isinstance(answer, Fc7Error):
        raise answer
    return answer


def _open(path: Path) -> Image.Image:
    from PIL import Image

    with Image.open(path) as image:
        return image.convert("RGB")


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    import numpy as np

    return np.asarray(image)


def _share(wanted: Sequence[str], got: Sequence[str]) -> float:
    return sum(a == b for a, b in zip(wanted, got, strict=True)) / len(wanted)


def _precision(wanted: Sequence[str], found: Sequence[Sequence[str]]) -> float:
    """Share of the neighbours that are views of the query's own photograph."""
    return sum(label == name for name, row in zip(wanted, found, strict=True) for label in row) / (len(wanted) * _K)


def _draw(queries: Sequence[View], hits: Sequence[list[Hit]], sheet: Path) -> None:
    from fc7.drawing.contact_sheet import QueryRow, Tile, draw_contact_sheet

    rows = []
    for i in range(0, len(queries), max(1, len(queries) // _ROWS))[:_ROWS]:
        photo = queries[i].photo
        tiles = [
            Tile(Path(str(hit.payload["path"])), (str(hit.payload["label"]), f"{hit.score:.3f}"), _frame(hit, photo))
            for hit in hits[i]
        ]
        rows.append(QueryRow(Tile(queries[i].path, (photo, "query")), tiles))
    title = "Each query and its ten nearest views. Green: the same photograph. Red: another one."
    draw_contact_sheet(rows, sheet, columns=_K, title=title)


def _frame(hit: Hit, photo: str) -> str:
    return _RIGHT if hit.payload["label"] == photo else _WRONG


def _show(result: Mapping[str, object], output: Path) -> None:
    figures = (
        ("photographs, head", "accuracy", "raw_accuracy"),
        ("photographs, precision@10", "precision_at_10", "raw_precision_at_10"),
        ("faces or not, head", "faces_accuracy", "faces_raw_accuracy"),
    )
    print_table(("", "fc7", "raw 32 x 32 pixels"), [(name, result[ours], result[raw]) for name, ours, raw in figures])
    print_text("")
    steps = result["steps"]
    assert isinstance(steps, dict)
    print_table(
        ("step", "seconds"), [(name, f"{s:7.1f}") for name, s in (steps | {"total": result["seconds"]}).items()]
    )
    print_text(
        f"\n{output / 'search.png'} shows queries and their neighbours, {output / 'result.json'} has the figures"
    )
