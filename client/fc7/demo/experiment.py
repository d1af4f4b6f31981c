"""The steps of the demonstration: search and classify views of photographs, classify faces, explain a hit."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fc7.demo.photograph_views import Photograph, PhotographView, take_views
from fc7.demo.pixel_baseline import nearest_rows, pixel_values, ridge_labels
from fc7.demo.server_process import running_server
from fc7.errors import Fc7Error

if TYPE_CHECKING:
    from PIL import Image

    from fc7 import Client, Hit

COLLECTION = "photographs"
_HEAD, _FACES_HEAD = "photograph", "faces"
_N_NEIGHBOURS = 10
_N_DRAWN = 8  # queries on the contact sheet
_RIGHT, _WRONG = "#2da44e", "#cf222e"  # frames: of the query's photograph, of another one

Report = Callable[[int], None]  # takes the number of things that are done


@dataclass(slots=True)
class Steps:
    """Shows and times the steps of the demonstration."""

    show: Callable[[str, int | None], AbstractContextManager[Report]]  # takes a step's name and its number of things
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def step(self, name: str, total: int | None = None) -> Iterator[Report]:
        """Show and time one step; yield the function to report progress with."""
        start = time.perf_counter()
        with self.show(name, total) as report:
            yield report
        self.seconds[name] = time.perf_counter() - start


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the demonstration measured."""

    figures: dict[str, float]  # accuracies and precisions, of fc7 and of raw pixels
    n_photographs: int
    n_items: int
    n_queries: int
    seconds: dict[str, float]  # of each step
    has_explanation: bool  # False: the network has no deconvnet

    def to_dict(self) -> dict[str, object]:
        """Return what result.json holds."""
        return {
            **self.figures,
            "seconds": sum(self.seconds.values()),
            "photographs": self.n_photographs,
            "indexed": self.n_items,
            "queries": self.n_queries,
            "steps": self.seconds,
        }


def run_experiment(photographs: Sequence[Photograph], output: Path, steps: Steps) -> Outcome:
    """Take all steps against a server process of its own.

    Parameters
    ----------
    photographs
        At least two.
    output
        Folder that gets search.png and why.png.
    steps
        Shows each step as it begins.
    """
    with tempfile.TemporaryDirectory(prefix="fc7-demo-") as scratch:
        with steps.step("views", len(photographs)) as report:
            views = take_views(photographs, Path(scratch) / "views", report)
        items, queries = views[::2], views[1::2]
        with contextlib.ExitStack() as stack:
            with steps.step("start server"):
                client = stack.enter_context(running_server(Path(scratch)))
            figures, hits = _search_and_classify(client, steps, items, queries)
            with steps.step("draw"):
                _draw_hits(queries, hits, output / "search.png")
            figures |= _classify_faces(client, steps)
            with steps.step("explain"):
                has_explanation = draw_explanation(client, queries[0].path, hits[0][0], output / "why.png")
            with steps.step("stop server"):
                stack.close()
    return Outcome(figures, len(photographs), len(items), len(queries), steps.seconds, has_explanation)


def _search_and_classify(
    client: Client, steps: Steps, items: Sequence[PhotographView], queries: Sequence[PhotographView]
) -> tuple[dict[str, float], list[list[Hit]]]:
    """Search for and classify the queries, by features and by pixels; return the figures and each query's hits."""
    wanted = [view.photograph for view in queries]
    with steps.step("index", len(items)) as report:
        _index(client, items, report)
    with steps.step("search"):
        answers = client.collection(COLLECTION).search_many([view.path for view in queries], k=_N_NEIGHBOURS)
        hits = [_hits(answer) for answer in answers]
    with steps.step("train head"):
        client.train_head(_HEAD, collection=COLLECTION)
    with steps.step("publish head"):
        client.publish_head(_HEAD)
    with steps.step("classify", len(queries)) as report:
        predictions = client.classify([view.path for view in queries], head=_HEAD, report=report)
    with steps.step("raw values"):
        x, z = (pixel_values([_open(view.path) for view in half]) for half in (items, queries))
        pixel_rows = nearest_rows(z, x, _N_NEIGHBOURS)
        pixel_labels = ridge_labels(x, [view.photograph for view in items], z)
    figures = {
        "accuracy": _accuracy(wanted, [prediction.label for prediction in predictions]),
        "precision_at_10": _precision(wanted, [[str(hit.payload["label"]) for hit in row] for row in hits]),
        "raw_accuracy": _accuracy(wanted, pixel_labels),
        "raw_precision_at_10": _precision(wanted, [[items[i].photograph for i in row] for row in pixel_rows]),
    }
    return figures, hits


def _index(client: Client, items: Sequence[PhotographView], report: Report) -> None:
    n_added = 0

    def count(_: object) -> None:
        nonlocal n_added
        n_added += 1
        report(n_added)

    added = client.create_collection(COLLECTION).add(
        [view.path for view in items],
        ids=[f"{view.photograph}/{view.path.name}" for view in items],
        payloads=[{"path": str(view.path), "label": view.photograph} for view in items],
        report=count,
    )
    for item in added:
        if item.error is not None:
            raise item.error


def _classify_faces(client: Client, steps: Steps) -> dict[str, float]:
    """Train a head on 100 pictures of faces and of other things, and classify another 100."""
    import skimage.data
    from PIL import Image

    with steps.step("faces"):
        lfw = skimage.data.lfw_subset()  # type: ignore[no-untyped-call]
        pictures = (lfw * 255).round().astype("uint8")  # (200, 25, 25); the first 100 are faces
        images = [Image.fromarray(picture).convert("RGB") for picture in pictures]
        labels = ["face"] * 100 + ["no face"] * 100
        client.train_head(_FACES_HEAD, images=[_pixels(image) for image in images[::2]], labels=labels[::2])
        client.publish_head(_FACES_HEAD)
        predictions = client.classify([_pixels(image) for image in images[1::2]], head=_FACES_HEAD)
        pixel_labels = ridge_labels(pixel_values(images[::2]), labels[::2], pixel_values(images[1::2]))
    return {
        "faces_accuracy": _accuracy(labels[1::2], [prediction.label for prediction in predictions]),
        "faces_raw_accuracy": _accuracy(labels[1::2], pixel_labels),
    }


def draw_explanation(client: Client, query: Path, hit: Hit, output: Path) -> bool:
    """Draw why a hit is near the query. Return False, and leave no file, if the network has no deconvnet."""
    from fc7.drawing.explanations import draw_match

    neighbour = Path(str(hit.payload["path"]))
    found = client.explain.match(query, neighbour, collection=COLLECTION)
    if found.query.projections:
        draw_match((query, neighbour), found, output)
        return True
    output.unlink(missing_ok=True)  # of an earlier run
    return False


def _draw_hits(queries: Sequence[PhotographView], hits: Sequence[list[Hit]], output: Path) -> None:
    """Draw some queries and their neighbours, those of the query's photograph in a green frame."""
    from fc7.drawing.contact_sheet import QueryRow, Tile, draw_contact_sheet

    rows = []
    for i in range(0, len(queries), max(1, len(queries) // _N_DRAWN))[:_N_DRAWN]:
        photograph = queries[i].photograph
        tiles = []
        for hit in hits[i]:
            label = str(hit.payload["label"])
            frame = _RIGHT if label == photograph else _WRONG
            tiles.append(Tile(Path(str(hit.payload["path"])), (label, f"{hit.score:.3f}"), frame))
        rows.append(QueryRow(Tile(queries[i].path, (photograph, "query")), tiles))
    title = "Each query and its ten nearest views. Green: the same photograph. Red: another one."
    draw_contact_sheet(rows, output, columns=_N_NEIGHBOURS, title=title)


def _hits(answer: list[Hit] | Fc7Error) -> list[Hit]:
    if isinstance(answer, Fc7Error):
        raise answer
    return answer


def _open(path: Path) -> Image.Image:
    from PIL import Image

    with Image.open(path) as image:
        return image.convert("RGB")


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image)


def _accuracy(wanted: Sequence[str], predicted: Sequence[str | None]) -> float:
    return sum(a == b for a, b in zip(wanted, predicted, strict=True)) / len(wanted)


def _precision(wanted: Sequence[str], labels: Sequence[Sequence[str]]) -> float:
    """Return the share of the neighbours that are views of the query's own photograph."""
    n_right = sum(label == name for name, row in zip(wanted, labels, strict=True) for label in row)
    return n_right / (len(wanted) * _N_NEIGHBOURS)
