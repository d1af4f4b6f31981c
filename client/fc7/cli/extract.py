"""`fc7 extract`: write the features of images to a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.folder_scan import FolderScan
from fc7.cli.image_arguments import find_items, finish, paths_argument
from fc7.cli.options import (
    check_one_model,
    ensemble_option,
    example,
    exclude_option,
    json_option,
    layer_option,
    model_option,
    path_type,
    views_option,
)
from fc7.cli.output import check_writable, counted, print_json, print_note, print_text, progress_bar, whole_file
from fc7.errors import InvalidArgument

if TYPE_CHECKING:
    from fc7 import Features


@example("fc7 extract holiday --output features.npz")
@click.command()
@paths_argument
@click.option("--output", required=True, type=path_type, metavar="FILE", help="File to write (.npz or .parquet).")
@layer_option
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

    Each PATH is an image file, a folder (searched at any depth), a URL (http or https), or - for
    an image on standard input.

    A .npz file holds `ids`, `features` (float32, one row per image) and `provenance` (JSON). A
    .parquet file has the columns `id` and `features`, and the provenance in the metadata of its
    schema; it needs 'fc7[arrow]'. An image that cannot be read is reported and gets no row.

    With --ensemble, the features of each model are scaled to length 1 and then joined.
    """
    check_one_model(model, ensemble)
    write = _writer(output)
    images = find_items(paths, "write them to two files", scan)
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
        raise InvalidArgument("no image could be read, so no file was written", name=str(output))
    with whole_file(output) as part, part.open("wb") as file:
        write(file, [images[row].id for row in features.rows], features)
    (count, dim), used_layer = features.values.shape, features.provenance.layer
    if as_json:
        facts = {"output": str(output), "count": count, "failed": len(features.failed), "layer": used_layer, "dim": dim}
        print_json(facts | {"passed_over": scan.to_dict()})
    else:
        print_text(f"wrote {counted(count, 'feature')} of {dim} numbers from layer {used_layer} to {output}")
    finish(scan, len(features.failed), as_json=as_json)


def _writer(output: Path) -> Callable[[IO[bytes], list[str], Features], None]:
    """Return the function that writes the format of ``output``, after checks that it will be able to."""
    writers = {".npz": _write_npz, ".parquet": _write_parquet}
    if output.suffix not in writers:
        raise InvalidArgument(f"output {str(output)!r} must end in .npz or .parquet", name="output")
    if output.suffix == ".parquet":
        import pyarrow  # noqa: F401  # if it is missing, fail before the work
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
