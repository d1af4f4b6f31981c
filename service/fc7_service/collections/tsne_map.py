"""The map of a collection by t-SNE (van der Maaten and Hinton 2008): near items lie near.

It takes seconds to minutes. So a process of its own makes it, at low priority, while the server goes on answering. The
places are kept in the collection's folder, and hold until an item comes, goes or is replaced.
"""

from __future__ import annotations

import importlib.util
import io
import subprocess
import sys
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fc7.contract.cores import usable_cores
from fc7.errors import FailedPrecondition, Reason, ResourceExhausted, Unavailable
from fc7_service.bundle.disk import replace_file
from fc7_service.collections.item_map import codes_of
from fc7_service.collections.store import Store

FILE = "tsne"
_FEWEST = 8  # items; of fewer, every one is near every other
_DIRECTIONS = 50  # main ones that are kept of each feature, as is usual; van der Maaten and Hinton 2008 keep 30
_SCRIPT = Path(__file__).with_name("tsne_process.py")


@dataclass(frozen=True, slots=True)
class TsneMap:
    """Where items lie."""

    stored: NDArray[np.int64]  # rids of all rows when it was made, sorted
    rids: NDArray[np.int64]  # (N,), of those that have a place, sorted
    positions: NDArray[np.float32]  # (N, 2)

    def places(self, rids: list[int]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Return which rows have a place, and the places of these."""
        at = np.searchsorted(self.rids, rids)
        has_place = np.isin(rids, self.rids)
        return has_place, self.positions[at[has_place]]


class TsneMaker:
    """Makes maps, one at a time."""

    def __init__(self) -> None:
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    def place(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return places (N, 2) of vectors (N, D).

        Raises
        ------
        ResourceExhausted
            The system ended the process.
        Unavailable
            The server is stopping.
        """
        command = [sys.executable, "-P", str(_SCRIPT), str(vectors.shape[1]), str(usable_cores())]
        with self._turn:
            with self._lock:
                if self._is_closed:
                    raise _stopping()
                pipe = subprocess.PIPE
                self._running = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
            data, errors = self._running.communicate(vectors.astype("<f4").tobytes())
            code = self._running.returncode
        if self._is_closed:
            raise _stopping()
        if code < 0:
            raise ResourceExhausted(
                f"the system ended the process that places {len(vectors)} items, perhaps for want of memory. Use the "
                "method pca, which needs little",
                reason=Reason.WORK_TOO_LARGE,
            )
        if code:
            raise RuntimeError(errors.decode(errors="replace")[-2000:])
        return np.frombuffer(data, "<f4").reshape(-1, 2)

    def close(self) -> None:
        """End the process that runs; no other begins."""
        with self._lock:
            self._is_closed = True
            if self._running is not None:
                self._running.kill()


def check_library() -> None:
    """Refuse t-SNE where its library is not installed.

    Raises
    ------
    FailedPrecondition
        It is not.
    """
    if importlib.util.find_spec("openTSNE") is None:
        raise FailedPrecondition(
            "the server lacks openTSNE, which places items by t-SNE. Install 'fc7[map]' where the server runs",
            name="method",
            reason=Reason.LIBRARY_MISSING,
        )


def make_tsne_map(store: Store, maker: TsneMaker) -> None:
    """Place the items of now, and keep the places.

    Raises
    ------
    FailedPrecondition
        There are too few items.
    ResourceExhausted, Unavailable
        See `TsneMaker.place`; or the places cannot be kept.
    """
    stored = store.all_rids()
    rids, codes = codes_of(store, _DIRECTIONS)
    if len(rids) < _FEWEST:
        raise FailedPrecondition(
            f"collection {store.name!r} has {len(rids)} items, but t-SNE needs at least {_FEWEST}. Use the method pca",
            name="method",
        )
    buffer = io.BytesIO()
    np.savez(buffer, stored=stored, rids=rids, positions=maker.place(codes))
    replace_file(store.folder / FILE, buffer.getvalue(), is_durable=False)


def read_tsne_map(store: Store, *, is_current: bool) -> TsneMap | None:
    """Return the map that was kept, or None; with ``is_current``, None also if other items are stored by now."""
    try:
        with np.load(store.folder / FILE, allow_pickle=False) as kept:  # whose format has checksums
            found = TsneMap(kept["stored"], kept["rids"], kept["positions"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # none, or a damaged one: it is made again
        return None
    return None if is_current and not np.array_equal(found.stored, store.all_rids()) else found


def _stopping() -> Unavailable:
    return Unavailable("the server is stopping. Send the call again", reason=Reason.SERVER_STOPPING)
