"""The features that `Client.extract` returns: a matrix with its provenance, which can be saved to a file."""

from __future__ import annotations

import json
import operator
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.contract.timing import Timing
from fc7.errors import FAMILY, DataLoss, FailedPrecondition, Fc7Error, InvalidArgument, NotFound, Reason
from fc7.results import Failure, Provenance

_FORMAT = 1  # of saved files
_KINDS = {kind.__name__: kind for kind in FAMILY}


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Features:
    """Features of a list of images, one row per image.

    ``features[i]``, ``features[a:b]``, ``features[mask]`` and ``features[[3, 1]]`` are Features of those rows.
    ``np.asarray(features)`` is `values`.

    Attributes
    ----------
    values : NDArray[np.float32]
        (N, D), not normalised.
    provenance : Provenance
        Which model, layer and preprocessing made them.
    rows : list of int
        For each row, the position of its image in the caller's list.
    failed : list of Failure
        Images without a row.
    timing : Timing
        Where the time went, in seconds.

    Examples
    --------
    >>> features = client.extract(["a.jpg", "b.jpg", "c.jpg"])
    >>> len(features), len(features[:2]), features[2].rows
    (3, 2, [2])
    """

    values: NDArray[np.float32]
    provenance: Provenance
    rows: list[int]
    failed: list[Failure] = field(default_factory=list)
    timing: Timing = field(default_factory=Timing)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, which: int | slice | list[int] | NDArray[Any]) -> Features:
        chosen = np.arange(len(self))[_rows(which)]
        rows = [self.rows[i] for i in chosen]
        return Features(self.values[chosen], self.provenance, rows, [], self.timing)

    def __iter__(self) -> Iterator[Features]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.values, dtype, copy=copy)

    def __repr__(self) -> str:
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"Features({self.values.shape}, {self.provenance.model} {self.provenance.layer}{failed})"

    def save(self, path: Path | str) -> None:
        """Write everything except the timing to a file. An earlier file of that name is replaced.

        The file is an ``.npz``, which `numpy.load` opens too. It holds ``values`` float32 (N, D), ``rows`` int64
        (N,), and ``facts``, a JSON text.

        Raises
        ------
        FailedPrecondition
            The file cannot be written.
        """
        failed = [
            {"index": one.index, "kind": type(one.error).__name__, "message": one.error.message}
            | {"name": one.error.name, "reason": one.error.reason}
            for one in self.failed
        ]
        facts = json.dumps({"format": _FORMAT, "provenance": asdict(self.provenance), "failed": failed})
        part = Path(f"{path}.part")
        try:
            with part.open("wb") as file:
                np.savez(file, values=self.values, rows=np.array(self.rows, np.int64), facts=np.array(facts))
            os.replace(part, path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise FailedPrecondition(f"{str(path)!r} cannot be written: {error.strerror}", name=str(path)) from error

    @staticmethod
    def load(path: Path | str) -> Features:
        """Return the features that `save` wrote. No code in the file is run.

        Raises
        ------
        NotFound
            There is no such file.
        InvalidArgument
            The file was not written by `save`.
        DataLoss
            The file is damaged.
        FailedPrecondition
            The file cannot be read, or a newer version of fc7 wrote it.
        """
        name = str(path)
        try:
            with Path(path).open("rb") as file:
                return _read(file, name)
        except FileNotFoundError as error:
            raise NotFound(f"file {name!r} does not exist", name=name, reason=Reason.FILE_NOT_FOUND) from error
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise DataLoss(f"file {name!r} is damaged: {error}. Restore it, or extract again", name=name) from error
        except OSError as error:
            raise FailedPrecondition(f"file {name!r} cannot be read: {error.strerror}", name=name) from error


def _rows(which: Any) -> Any:
    """Return an index of NumPy that leaves one axis."""
    if isinstance(which, slice):
        return which
    if hasattr(which, "__index__") and not hasattr(which, "__len__"):
        return [operator.index(which)]
    if isinstance(which, list | np.ndarray):
        array = np.asarray(which) if len(which) else np.array([], np.intp)
        if array.ndim == 1 and array.dtype.kind in "iub":
            return array
    raise TypeError(
        f"{which!r:.80} is not a row, slice, mask or list of rows. For single numbers, index features.values"
    )


def _read(file: Any, name: str) -> Features:
    if file.read(4) != b"PK\x03\x04":
        raise InvalidArgument(f"file {name!r} was not written by Features.save", name=name)
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        try:
            facts = json.loads(str(arrays["facts"]))
            if facts["format"] > _FORMAT:
                raise FailedPrecondition(
                    f"file {name!r} was written by a newer version of fc7. Upgrade fc7",
                    name=name,
                    reason=Reason.NEWER_FORMAT,
                )
            values, rows = arrays["values"], arrays["rows"].tolist()
            if values.dtype != np.float32 or values.ndim != 2 or len(values) != len(rows):
                raise ValueError("values is not float32 (N, D) with N rows")
            failed = [_failure(**one) for one in facts["failed"]]
            return Features(values, Provenance(**facts["provenance"]), rows, failed)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidArgument(f"file {name!r} holds no features: {error}", name=name) from error


def _failure(index: int, kind: str, message: str, name: str, reason: str) -> Failure:
    error: Fc7Error = _KINDS.get(kind, Fc7Error)(message, name=name)
    error.reason = reason
    return Failure(index, error)
