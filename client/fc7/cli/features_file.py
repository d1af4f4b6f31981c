"""Reads the .npz file that `fc7 extract` writes."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from fc7.errors import InvalidArgument, NotFound, Reason

if TYPE_CHECKING:
    from fc7 import Features


def read_features(file: Path) -> tuple[list[str], Features]:
    """Return the ids and the features of a file that `fc7 extract` wrote. No code in the file is run.

    Raises
    ------
    NotFound
        There is no such file.
    InvalidArgument
        It is damaged, or no such file.
    """
    import numpy as np

    from fc7 import Features, Provenance

    try:
        with np.load(file, allow_pickle=False) as arrays:
            ids, values = arrays["ids"].tolist(), arrays["features"]
            provenance = Provenance(**json.loads(str(arrays["provenance"])))
        if values.dtype != np.float32 or values.ndim != 2 or len(ids) != len(values) or not len(values):
            raise ValueError("features is not float32 (N, D) with one id per row")
    except FileNotFoundError as error:
        raise NotFound(f"file {str(file)!r} does not exist", name=str(file), reason=Reason.FILE_NOT_FOUND) from error
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        EOFError,
        OSError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InvalidArgument(
            f"file {str(file)!r} holds no features: {error}. Write one with: fc7 extract IMAGE... --output FILE",
            name=str(file),
        ) from error
    return ids, Features(values, provenance, list(range(len(ids))))
