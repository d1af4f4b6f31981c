"""Measure how many labels each strategy of `fc7 head suggest` saves against random picks.

    python bench/active.py FEATURES.npz [...]

FEATURES.npz is what `fc7 extract FOLDER --output FEATURES.npz` writes for a folder with one sub-folder per class. A
third of the pictures is held out. From two labels per class on, 20 pictures are suggested and labelled in each round;
the table has the accuracy on the held-out third, the mean of several random starts, and its mean over all rounds. A
head here is ridge regression with one strength, so that the strategies differ in the pictures alone. Features of more
than 1,024 numbers are projected to 512 at random, which saves time.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fc7_service.bundle.softmax import softmax
from fc7_service.heads.methods import fit_method
from fc7_service.heads.standardised_rows import StandardisedRows
from fc7_service.heads.suggest import FEW_LABELS, STRATEGIES, Strategy, suggest

STARTS, BATCH, ROUNDS, SHOWN = 5, 20, 20, (1, 3, 5, 10, 15, 20)
STRENGTH, SHARPNESS = 0.1, 10.0  # of the penalty; of the probabilities, whose order alone matters
NAMES = ("random", *STRATEGIES, "auto")
WIDEST, PROJECTED = 1024, 512  # numbers of a feature


def main() -> None:
    """Print a table per file."""
    for file in map(Path, sys.argv[1:]):
        with np.load(file) as stored:
            features, names = stored["features"], stored["ids"]
        y = np.unique([_label(str(name)) for name in names], return_inverse=True)[1]
        if features.shape[1] > WIDEST:
            draw = np.random.default_rng(0).standard_normal((features.shape[1], PROJECTED))
            features = features @ (draw / PROJECTED**0.5).astype(np.float32)
        print(f"\n{file.stem}: {len(y)} pictures, {y.max() + 1} classes\n")
        print("| labels | " + " | ".join(NAMES) + " |\n" + "|---" * (1 + len(NAMES)) + "|")
        curves = {name: np.mean([run(features, y, name, seed) for seed in range(STARTS)], axis=0) for name in NAMES}
        for round_ in SHOWN:
            row = " | ".join(f"{curves[name][round_]:.3f}" for name in NAMES)
            print(f"| {2 * (y.max() + 1) + round_ * BATCH} | {row} |", flush=True)
        print("| mean | " + " | ".join(f"{curves[name][1:].mean():.3f}" for name in NAMES) + " |", flush=True)


def run(features: NDArray[np.float32], y: NDArray[np.int64], name: str, seed: int) -> list[float]:
    """Return the accuracy after each round of labelling."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(y))
    tested, pool = order[: len(y) // 3], order[len(y) // 3 :]
    x, labels = features[pool], y[pool]
    is_labelled = np.zeros(len(pool), bool)
    for label in range(y.max() + 1):
        is_labelled[np.flatnonzero(labels == label)[:2]] = True
    accuracies = []
    for round_ in range(ROUNDS + 1):
        rows = StandardisedRows(x[is_labelled], labels[is_labelled], int(y.max()) + 1)
        layer = next(fit_method("ridge", (STRENGTH,), rows))
        accuracies.append(float(np.mean(layer.logits(features[tested]).argmax(axis=1) == y[tested])))
        is_labelled[_pick(x, labels, is_labelled, layer.logits(x), name, 100 * seed + round_)] = True
    return accuracies


def _pick(
    x: NDArray[np.float32],
    labels: NDArray[np.int64],
    is_labelled: NDArray[np.bool_],
    logits: NDArray[np.float32],
    name: str,
    seed: int,
) -> list[int]:
    if name == "random":
        return np.random.default_rng(seed).choice(np.flatnonzero(~is_labelled), BATCH, replace=False).tolist()
    few = is_labelled.sum() < FEW_LABELS * (labels.max() + 1)
    strategy: Strategy = next(
        s for s in STRATEGIES if s == (name if name != "auto" else "typical" if few else "margin")
    )
    return [one.row for one in suggest(x, is_labelled, softmax(SHARPNESS * logits), BATCH, strategy, seed)]


def _label(name: str) -> str:
    return Path(name).parent.name


if __name__ == "__main__":
    main()
