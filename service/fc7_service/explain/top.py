"""The nine pictures that excite each unit of a layer most: one pass over the pictures, kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

N_TOP = 9
_KEPT = 64  # passes on disk
_HALF_MADE = ".part-"
_logger = logging.getLogger(__name__)


class Top:
    """A running top nine of each unit.

    Parameters
    ----------
    channels
        Units of the layer.
    """

    def __init__(self, channels: int) -> None:
        self.values = np.zeros((channels, N_TOP), np.float32)  # strongest first; 0: the unit was silent
        self.pictures = np.full((channels, N_TOP), -1, np.int64)
        self.positions = np.full((channels, N_TOP), -1, np.int64)  # row * width + column
        self.failed: dict[int, tuple[str, str, str, str]] = {}  # picture -> code, reason, message, name
        self.n_done = 0

    def add(self, peaks: NDArray[np.float32], positions: NDArray[np.int64], pictures: Sequence[int]) -> None:
        """Take the peak (N, C) of each map of some pictures, and where it is; of equal ones the first stays."""
        values = np.concatenate([self.values, peaks.T], axis=1)
        order = np.argsort(-values, axis=1, kind="stable")[:, :N_TOP]
        self.values = np.take_along_axis(values, order, axis=1)
        numbers = np.broadcast_to(np.asarray(pictures, np.int64), peaks.T.shape)
        self.pictures = np.take_along_axis(np.concatenate([self.pictures, numbers], axis=1), order, axis=1)
        self.positions = np.take_along_axis(np.concatenate([self.positions, positions.T], axis=1), order, axis=1)

    def of(self, unit: int) -> list[tuple[int, float, int]]:
        """Return picture, value and position of a unit's strongest, as long as it fires."""
        rows = zip(self.pictures[unit], self.values[unit], self.positions[unit], strict=True)
        return [(int(picture), float(value), int(position)) for picture, value, position in rows if value > 0]


class Passes:
    """Finished passes in a folder, by what they were made from.

    Parameters
    ----------
    folder
        Made with the first pass.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for leftover in folder.glob(_HALF_MADE + "*"):  # of a process that was killed
            leftover.unlink(missing_ok=True)

    def load(self, provenance: str, digests: bytes) -> Top | None:
        """Return the pass over these pictures; None where it is not known, or its file is damaged."""
        path = self._path(provenance, digests)
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
                top = Top(len(arrays["values"]))
                top.values, top.pictures, top.positions = (arrays[k] for k in ("values", "pictures", "positions"))
                top.failed = {int(k): tuple(v) for k, v in json.loads(str(arrays["failed"])).items()}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError):
            return None
        os.utime(path)
        top.n_done = len(digests) // hashlib.sha256().digest_size
        return top

    def save(self, provenance: str, digests: bytes, top: Top) -> None:
        """Keep a pass; the least recently used ones leave. One that the disk does not take is made again when asked."""
        arrays = {"values": top.values, "pictures": top.pictures, "positions": top.positions}
        path = self._path(provenance, digests)
        part = path.with_name(_HALF_MADE + path.name)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            np.savez(part, **arrays, failed=np.array(json.dumps(top.failed)))  # type: ignore[arg-type]
            os.replace(part, path)
            known = sorted(self._folder.glob("*.npz"), key=lambda file: file.stat().st_mtime)
            for file in known[:-_KEPT]:
                file.unlink(missing_ok=True)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            _logger.warning("a pass over %d pictures is not kept: %s", top.n_done, error)

    def _path(self, provenance: str, digests: bytes) -> Path:
        return self._folder / f"{hashlib.sha256(provenance.encode() + digests).hexdigest()}.npz"
