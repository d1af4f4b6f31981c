"""The process that makes a map by t-SNE: numbers on standard input, places on standard output.

    python tsne_process.py DIM THREADS

It is run as a script and imports nothing of fc7, so that it starts wherever the server runs.
"""

from __future__ import annotations

import os
import sys
import threading
import time

_PERPLEXITY = 30.0  # the usual one; van der Maaten and Hinton 2008, section 2, name 5 to 50
_NICENESS = 5  # gets a third of what the server gets where both want a core
_LOOK_S = 1.0
_FEWEST_TO_SHARE = 5000  # items; with fewer, threads spend more time on waiting for each other


def main() -> None:
    """Place what comes, and answer with float32 (N, 2)."""
    dim, threads = map(int, sys.argv[1:])
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    import numpy as np
    from openTSNE import TSNE

    vectors = np.frombuffer(sys.stdin.buffer.read(), "<f4").reshape(-1, dim)
    perplexity = min(_PERPLEXITY, (len(vectors) - 1) / 3)
    threads = threads if len(vectors) >= _FEWEST_TO_SHARE else 1
    places = TSNE(perplexity=perplexity, n_jobs=threads, random_state=0).fit(vectors)
    centred = np.asarray(places - places.mean(axis=0), "<f4")
    sys.stdout.buffer.write(centred.tobytes())


def _end_with(server: int) -> None:
    """End this process when the server has ended without ending it."""
    while os.getppid() == server:
        time.sleep(_LOOK_S)
    os._exit(1)


if __name__ == "__main__":
    main()
