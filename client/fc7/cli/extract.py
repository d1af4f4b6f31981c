"""`fc7 extract`: features to a file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.folder_scan import FolderScan
from fc7.cli.image_arguments import find_items, finish, paths_argument
from fc7.cli.options import check_one, ensemble_option, exclude_option, json_option, model_option, views_option
from fc7.cli.output import check_writable, print_json, print_note, print_text, progress_bar
from fc7.errors import InvalidArgument

if TYPE_CHECKING:
    from fc7 import Features


@click.command()
@paths_argument
@click.option("--output", required=True, type=click.Path(path_type=Path), help="File to write: F.npz or F.parquet.")
@click.option("--layer", default="", help="Layer to take; without: the model's default.")
@model_option
@ensemble_option
@views_option
@exclude_option
@json_option
@connected
def extract(
    connection: Connection,
    paths: tuple[Path | str, ...],
    output: Path,
    layer: str,
    model: str,
    ensemble: tuple[str, ...],
    views: int,
    scan: FolderScan,
    as_json: bool,
) -> None:
    """Write the features of images to a file.

    PATH is a file, a folder, a URL (http, https) or - for standard input.

    F.npz holds `ids`, `features` (float32, a row an image) and `provenance` (JSON); F.parquet
    the columns `id` and `features`, and the provenance in its schema's metadata. An image that
    cannot be read is reported and has no row. Of an ensemble the features of each network are
    brought to length 1 and joined.
    """
    check_one(model, ensemble)
    write = _writer(output)
    images = find_items(paths, "write two files", scan)
    with connection.open() as client, progress_bar("extract", len(images), as_json=as_json) as report:
        features = client.extract(
            [image.source for image in images],
            layer=layer,
            model=model,
            ensemble=ensemble,
            views=views,
            on_error="skip",
            report=report,
        )
    for failed in features.failed:
        print_note(images[failed.index].name, failed.error)
    if not features.rows:
        raise InvalidArgument("no image could be read: nothing was written", name=str(output))
    part = output.with_name(f".{output.name}.part")
    try:
        with part.open("wb") as file:
            write(file, [images[row].id for row in features.rows], features)
        os.replace(part, output)
    finally:
        part.unlink(missing_ok=True)
    (count, dim), taken = features.values.shape, features.provenance.layer
    if as_json:
        facts = {"output": str(output), "count": count, "failed": len(features.failed), "layer": taken, "dim": dim}
        print_json(facts | {"passed_over": scan.to_dict()})
    else:
        print_text(f"{count} features of {dim} numbers from layer {taken} in {output}")
    finish(scan, len(features.failed), as_json=as_json)


def _writer(output: Path) -> Callable[[IO[bytes], list[str], Features], None]:
    """Return the function for the suffix of ``output``; refuse what could not be written in the end."""
    writers = {".npz": _write_npz, ".parquet": _write_parquet}
    if output.suffix not in writers:
        raise InvalidArgument(f"output {str(output)!r} ends in neither .npz nor .parquet", name="output")
    if output.suffix == ".parquet":
        import pyarrow  # noqa: F401  # where it is missing, now rather than after the work
    check_writable(output)
    return writers[output.suffix]


def _write_npz(file: IO[bytes], ids: list[str], features: Features) -> None:
    import numpy as np

    provenance = np.array(json.dumps(features.provenance.to_dict()))
    np.savez(file, ids=np.array(ids), features=features.values, provenance=provenance)


def _write_parquet(file: IO[bytes], ids: list[str], features: Features) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    dim = features.values.shape[1]
    rows = pa.FixedSizeListArray.from_arrays(pa.array(features.values.ravel()), dim)
    metadata = {"provenance": json.dumps(features.provenance.to_dict())}
    pq.write_table(pa.table({"id": ids, "features": rows}).replace_schema_metadata(metadata), file)
