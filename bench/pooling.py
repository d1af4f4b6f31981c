"""Which picture size and length suit the layer for photographs: cross-validation inside a labelled folder.

    python bench/pooling.py CHECKPOINT TRAINING_PICTURES LABELLED

CHECKPOINT is the `trained.pt` of a run, TRAINING_PICTURES its folder, LABELLED a folder with one sub-folder a class:
pictures to choose by, so not those that a figure is quoted on. Prints a Markdown table: a ridge head's accuracy and the
share of the 10 nearest (cosine) that have the query's class, each fifth in turn asked about the others. Needs
'fc7[train]'.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fc7.cli.raw import nearest, ridge_labels
from fc7_models.dataset import read_dataset, training_pictures
from fc7_models.export import fold
from fc7_models.forward import read_batches
from fc7_models.pooling import pool, whiten
from fc7_models.trained import load_trained

SIZES_PX = (64, 80, 96, 112, 128)
DIMS = (256, 512, 1024)
PICTURES = 2500  # to learn from
FOLDS = 5
K = 10


def main() -> None:
    """Print the table."""
    checkpoint, training, labelled = map(Path, sys.argv[1:])
    trained, data = load_trained(checkpoint), read_dataset(labelled, "test")
    module, order = fold(trained.module), np.random.default_rng(0).permutation
    paths = training_pictures([training])
    chosen = [paths[i] for i in order(len(paths))[:PICTURES]]
    held = order(len(data.paths)) % FOLDS
    print("| pixels | numbers | head | precision@10 |\n|---|---|---|---|")
    for px in SIZES_PX:
        recipe = replace(trained.network.recipe, resize_px=px, crop_px=px)

        def features(files: Sequence[Path]) -> Tensor:
            batches = read_batches(files, recipe, lambda done, total: None)  # noqa: B023  # called in this round
            return torch.cat([pool(module(torch.from_numpy(batch))) for batch in batches])

        with torch.inference_mode():
            learnt, plain = features(chosen), features(data.paths)
            for dim in DIMS:
                head, precision = rate(whiten(learnt, dim)(plain).numpy(), np.array(data.labels), held)
                print(f"| {px} | {dim} | {head:.3f} | {precision:.3f} |", flush=True)


def rate(x: np.ndarray, labels: np.ndarray, held: np.ndarray) -> tuple[float, float]:
    """Return the head's accuracy and the neighbours' precision."""
    right = same = 0
    for fold_ in range(FOLDS):
        test = held == fold_
        found = ridge_labels(x[~test], labels[~test].tolist(), x[test])
        right += int((np.array(found) == labels[test]).sum())
        same += int((labels[~test][nearest(x[test], x[~test], K)] == labels[test][:, None]).sum())
    return right / len(labels), same / (K * len(labels))


if __name__ == "__main__":
    main()
