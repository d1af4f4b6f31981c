"""The class that turns batches of picture files into rows of features."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fc7.contract.image_digest import image_digest
from fc7.errors import FailedPrecondition, Fc7Error, InvalidArgument

if TYPE_CHECKING:
    import pyarrow

OWN_COLUMNS = ("sha256", "error", "provenance")


class FeatureExtractor:
    """Turns batches of picture files into features: the class for Ray Data's ``map_batches``.

    Each actor loads the network once. All layers of a picture come from one run.

    Parameters
    ----------
    model
        Name of a network that fc7 comes with, or the folder of a bundle. Defaults to the first that fc7 comes with.
    layers
        Names of the layers. Defaults to the network's default layer.
    column
        Column of the batch that holds the bytes of the picture files.
    device
        "auto", "cpu" or "cuda".
    threads
        Threads of this actor, for decoding and for the network. Give the actor as many CPUs (``num_cpus``).

    Raises
    ------
    NotFound
        There is no such network or layer.
    FailedPrecondition
        The device cannot be had, or neither 'fc7[cpu]' nor 'fc7[gpu]' is installed.
    """

    def __init__(
        self,
        model: str = "",
        layers: Sequence[str] = (),
        *,
        column: str = "bytes",
        device: str = "auto",
        threads: int = 1,
    ) -> None:
        try:
            from fc7_service.bulk_engine import BulkEngine

            self._engine = BulkEngine(model, layers, device=device, threads=threads)
        except ModuleNotFoundError as error:
            raise FailedPrecondition(
                f'{error.name} is not installed. Install it with: pip install "fc7[cpu,ray]"', name=str(error.name)
            ) from error
        self._column = column
        self._provenance = json.dumps({layer: made.to_dict() for layer, made in self._engine.provenance.items()})

    def __call__(self, batch: Mapping[str, Any]) -> pyarrow.Table:
        """Return one row per picture.

        Parameters
        ----------
        batch
            Columns (N,), one of them with the bytes of the files.

        Returns
        -------
        pyarrow.Table
            The other columns of the batch; ``sha256``, the 32 bytes of each file's digest; one column per layer with
            float32 (D,), which is null if the picture cannot be read; ``error``, why it cannot, otherwise null; and
            ``provenance``, the same JSON text in every row: per layer, what made its features.

        Raises
        ------
        InvalidArgument
            The batch lacks the column of bytes, or has a column of a name that the result uses.
        """
        import pyarrow as pa

        kept = self._check_columns(batch)
        images = [bytes(image) for image in batch[self._column]]
        rows = self._engine.extract(images)
        columns = {name: pa.array(list(batch[name])) for name in kept}
        columns["sha256"] = pa.array([image_digest(image, None) for image in images], pa.binary(32))
        for place, (layer, dim) in enumerate(self._engine.dims.items()):
            values = [None if isinstance(row, Fc7Error) else row[place] for row in rows]
            columns[layer] = _vectors(values, dim)
        errors = [row.message if isinstance(row, Fc7Error) else None for row in rows]
        columns["error"] = pa.array(errors, pa.string())
        columns["provenance"] = pa.array([self._provenance] * len(rows), pa.string())
        return pa.table(columns)

    def _check_columns(self, batch: Mapping[str, Any]) -> list[str]:
        """Return the columns that are handed on."""
        if self._column not in batch:
            raise InvalidArgument(
                f"the batch has no column {self._column!r}, but {', '.join(batch) or 'none'}. Name the one that holds "
                "the bytes of the files with column=",
                name="column",
            )
        kept = [name for name in batch if name != self._column]
        if taken := set(kept) & {*OWN_COLUMNS, *self._engine.dims}:
            raise InvalidArgument(
                f"the batch has columns that the features would replace: {', '.join(sorted(taken))}. Rename them",
                name="column",
            )
        return kept


def _vectors(values: list[NDArray[np.float32] | None], dim: int) -> pyarrow.Array:
    """Return a column of vectors, null where there is none."""
    import pyarrow as pa

    whole = np.concatenate([np.zeros(dim, np.float32) if row is None else row for row in values])
    is_null = pa.array([row is None for row in values])
    return pa.FixedSizeListArray.from_arrays(pa.array(whole), dim, mask=is_null)
