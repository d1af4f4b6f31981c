"""The nine images that excite each unit of a layer most, collected in one pass over many images and kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fc7.errors import Fc7Error, InvalidArgument

N_TOP = 9
DIGEST_BYTES = hashlib.sha256().digest_size
MAX_FAILED = 10_000  # images per pass: the report about them stays well below the size of a message
_KEPT, _KEPT_BYTES = 64, 256 * 2**20  # passes on disk, and their total size
_SUFFIX = ".pass"  # such a file holds the SHA-256 of the rest, then arrays as `numpy.savez` writes them
_HALF_MADE = ".part-"
_logger = logging.getLogger(__name__)


class TopImages:
    """The nine strongest images of each unit so far.

    Parameters
    ----------
    channels
        Number of units of the layer.
    """

    def __init__(self, channels: int) -> None:
        self.values = np.full((channels, N_TOP), -np.inf, np.float32)  # strongest first; 0 if the unit was silent
        self.pictures = np.full((channels, N_TOP), -1, np.int64)
        self.positions = np.full((channels, N_TOP), -1, np.int64)  # row * width + column
        self.failed: dict[int, tuple[str, str, str, str]] = {}  # picture -> code, reason, message, name
        self.n_done = 0

    def add(self, peaks: NDArray[np.float32], positions: NDArray[np.int64], pictures: Sequence[int]) -> None:
        """Add the largest activation (N, C) of each map in some images, and its position; the first of a tie stays."""
        values = np.concatenate([self.values, peaks.T], axis=1)
        order = np.argsort(-values, axis=1, kind="stable")[:, :N_TOP]
        self.values = np.take_along_axis(values, order, axis=1)
        numbers = np.broadcast_to(np.asarray(pictures, np.int64), peaks.T.shape)
        self.pictures = np.take_along_axis(np.concatenate([self.pictures, numbers], axis=1), order, axis=1)
        self.positions = np.take_along_axis(np.concatenate([self.positions, positions.T], axis=1), order, axis=1)

    def fail(self, picture: int, error: Fc7Error) -> None:
        """Record why an image cannot be read.

        Raises
        ------
        InvalidArgument
            Too many images cannot be read.
        """
        if len(self.failed) == MAX_FAILED:
            raise InvalidArgument(
                f"image {picture} is one of more than {MAX_FAILED} that cannot be read ({error.message[:256]}). "
                "Leave them out",
                name="images",
            )
        self.failed[picture] = (error.code, error.reason, error.message[:1024], error.name[:256])

    def of(self, unit: int) -> list[tuple[int, float, int]]:
        """Return image number, value and position of each image in which a unit is not silent, strongest first."""
        rows = zip(self.pictures[unit], self.values[unit], self.positions[unit], strict=True)
        return [(int(picture), float(value), int(at)) for picture, value, at in rows if picture >= 0 and value != 0]


class TopImagesStore:
    """Finished passes in a folder, found again by provenance and digests of the images.

    Parameters
    ----------
    folder
        Created when the first pass is saved.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for leftover in folder.glob(_HALF_MADE + "*"):  # by a process that was killed
            leftover.unlink(missing_ok=True)

    def load(self, provenance: str, digests: bytes) -> TopImages | None:
        """Return the pass over these images; None if there is none, or if its file is damaged."""
        path = self._path(provenance, digests)
        try:
            file = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        data = file[DIGEST_BYTES:]
        if hashlib.sha256(data).digest() != file[:DIGEST_BYTES]:
            return None
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            top = TopImages(len(arrays["values"]))
            top.values, top.pictures, top.positions = (arrays[k] for k in ("values", "pictures", "positions"))
            top.failed = {int(k): tuple(v) for k, v in json.loads(arrays["failed"].tobytes()).items()}
        top.n_done = len(digests) // DIGEST_BYTES
        return top

    def save(self, provenance: str, digests: bytes, top: TopImages) -> None:
        """Save a pass and delete the least recently used ones. If the disk refuses it, it will be computed again."""
        data, failed = io.BytesIO(), np.frombuffer(json.dumps(top.failed).encode(), np.uint8)
        np.savez(data, values=top.values, pictures=top.pictures, positions=top.positions, failed=failed)
        path = self._path(provenance, digests)
        part = path.with_name(_HALF_MADE + path.name)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(hashlib.sha256(data.getbuffer()).digest() + data.getbuffer())
            os.replace(part, path)
            self._forget()
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            _logger.warning("the strongest images of each unit (%d images) could not be saved: %s", top.n_done, error)

    def _forget(self) -> None:
        passes = [(file, file.stat()) for file in self._folder.glob(f"*{_SUFFIX}")]
        passes.sort(key=lambda entry: entry[1].st_mtime_ns, reverse=True)
        kept_bytes = 0
        for number, (file, facts) in enumerate(passes):
            kept_bytes += facts.st_size
            if number >= _KEPT or (number and kept_bytes > _KEPT_BYTES):
                file.unlink(missing_ok=True)

    def _path(self, provenance: str, digests: bytes) -> Path:
        return self._folder / f"{hashlib.sha256(provenance.encode() + digests).hexdigest()}{_SUFFIX}"
