"""Measure how often a set of classes at coverage 0.9 holds the right one.

    python bench/coverage_of_sets.py FEATURES.npz [...]

FEATURES.npz is what `fc7 extract FOLDER --output FEATURES.npz` writes for a folder with one sub-folder per class. In
each of 20 splits, a head is trained on 1,000 pictures drawn at random (half of them, if there are fewer than 2,000) and
asked about the others.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fc7_service.bundle.softmax import softmax
from fc7_service.heads.conformal import calibration_scores, least_probability
from fc7_service.heads.fit import fit_head
from fc7_service.heads.out_of_fold import predict_out_of_fold

COVERAGE, N_TRAINED, SPLITS = 0.9, 1000, 20


def print_coverage(sets: Mapping[str, tuple[NDArray[np.float32], NDArray[np.str_]]], n_splits: int) -> None:
    """Print a table of features and labels, by name."""
    print(f"\n| pictures | coverage at {COVERAGE}, mean of {n_splits} splits | least | most | classes per set |")
    print("|---|---|---|---|---|")
    for name, (features, labels) in sets.items():
        shares, sizes = np.array([measure_sets(features, labels, seed) for seed in range(n_splits)]).T
        row = f"{shares.mean():.3f} | {shares.min():.3f} | {shares.max():.3f} | {sizes.mean():.1f}"
        print(f"| {name} | {row} |", flush=True)


def measure_sets(features: NDArray[np.float32], labels: NDArray[np.str_], seed: int) -> tuple[float, float]:
    """Return the share of sets that hold the right class, and the mean number of classes in a set."""
    n_trained = min(N_TRAINED, len(labels) // 2)
    order = np.random.default_rng(seed).permutation(len(labels))
    trained, asked = order[:n_trained], order[n_trained:]
    groups = [str(i) for i in trained]
    fitted = fit_head(features[trained], labels[trained].tolist(), groups)
    temperature = fitted.softmax.temperature[0]
    y = np.searchsorted(np.array(fitted.classes), labels)
    logits = predict_out_of_fold(features[trained], y[trained], fitted.folds, fitted, lambda: None)
    least = least_probability(calibration_scores(softmax(logits / temperature), y[trained]), COVERAGE)
    is_in_set = fitted.softmax.probabilities(features[asked]) >= least
    return float(is_in_set[np.arange(len(asked)), y[asked]].mean()), float(is_in_set.sum(axis=1).mean())


def main() -> None:
    """Print a table per file."""
    for file in map(Path, sys.argv[1:]):
        with np.load(file) as stored:
            labels = np.array([Path(str(name)).parent.name for name in stored["ids"]])
            print_coverage({file.stem: (stored["features"], labels)}, SPLITS)


if __name__ == "__main__":
    main()
