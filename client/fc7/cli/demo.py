"""`fc7 demo`: real pictures through the whole of fc7, against a real server process."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fc7.cli.folder_scan import FolderScan
from fc7.cli.image_arguments import find_images, finish
from fc7.cli.output import print_table, print_text, progress_bar
from fc7.errors import InvalidArgument

if TYPE_CHECKING:
    from fc7.demo.photograph_views import Photograph

_MAX_PHOTOGRAPHS = 30


@click.command()
@click.option(
    "--data-from",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of your own photographs; each is a class. If there are more than 30, 30 are taken, evenly spread by "
    "name.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default="demo",
    show_default=True,
    help="Folder for search.png, why.png and result.json.",
)
def demo(data_from: Path | None, output: Path) -> None:
    """Run real pictures through all of fc7.

    Starts a server process and takes 66 views of each of twenty photographs, or of yours.
    Half of the views go into a collection, and the other half are searched for in it. Then a
    head is trained on the first half, published, and used to classify the other half.

    OUTPUT/search.png shows queries and their neighbours, OUTPUT/why.png shows why the first
    hit is near its query, and OUTPUT/result.json holds the figures.
    """
    from fc7.demo.experiment import Steps, run_experiment

    output.mkdir(parents=True, exist_ok=True)
    scan = FolderScan()
    outcome = run_experiment(_photographs(data_from, scan), output, Steps(_show_step))
    result = outcome.to_dict()
    (output / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    _print_result(result, outcome.seconds)
    print_text(f"\n{output / 'search.png'}: queries and their neighbours")
    why = "why the first query's first hit is its neighbour" if outcome.has_explanation else "not drawn: no deconvnet"
    print_text(f"{output / 'why.png'}: {why}\n{output / 'result.json'}: the figures")
    finish(scan, 0)


def _photographs(data_from: Path | None, scan: FolderScan) -> list[Photograph]:
    """Return the pictures of scikit-image, or at most thirty of a folder."""
    from fc7.demo.photograph_views import scikit_image_photographs

    if data_from is None:
        return scikit_image_photographs()
    found = own_photographs(data_from, scan)
    if len(found) <= _MAX_PHOTOGRAPHS:
        return found
    note = f"{len(found)} photographs found. {_MAX_PHOTOGRAPHS} of them are taken, evenly spread by name."
    print_text(note, err=True)
    return [found[i * len(found) // _MAX_PHOTOGRAPHS] for i in range(_MAX_PHOTOGRAPHS)]


def own_photographs(folder: Path, scan: FolderScan) -> list[Photograph]:
    """Return the photographs of a folder.

    Raises
    ------
    InvalidArgument
        There is only one: a head needs two classes.
    """
    from fc7.demo.photograph_views import Photograph

    found = find_images([folder], scan)
    if len(found) < 2:
        raise InvalidArgument(
            f"folder {str(folder)!r} holds one photograph. The demonstration needs at least 2", name=str(folder)
        )
    return [Photograph(image.id, image.path) for image in found]


@contextlib.contextmanager
def _show_step(name: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Print a step's name on standard error; show a bar where the number of its parts is known."""
    print_text(f"{name} ...", err=True)
    if total is None:
        yield lambda done: None
    else:
        with progress_bar(name, total) as report:
            yield report


def _print_result(result: Mapping[str, object], seconds: Mapping[str, float]) -> None:
    figures = (
        ("views of photographs: accuracy of the head", "accuracy", "raw_accuracy"),
        ("views of photographs: precision@10 of the search", "precision_at_10", "raw_precision_at_10"),
        ("faces and other pictures: accuracy of the head", "faces_accuracy", "faces_raw_accuracy"),
    )
    print_table(("", "fc7", "raw 32 x 32 pixels"), [(name, result[ours], result[raw]) for name, ours, raw in figures])
    print_text("")
    times = {**seconds, "total": sum(seconds.values())}
    print_table(("step", "seconds"), [(name, f"{s:7.1f}") for name, s in times.items()])
