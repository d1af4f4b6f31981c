"""Choose the picture sizes and lengths of the layer for photographs, `conv5_pooled`.

    python bench/pooled_layer_sizes.py CHECKPOINT TRAINING_PICTURES LABELLED PHOTOGRAPHS

CHECKPOINT is the `trained.pt` of a run and TRAINING_PICTURES its folder. LABELLED has one sub-folder per class.
PHOTOGRAPHS is a folder of which views are taken as `fc7 demo` takes them. Do not quote figures on the same pictures,
since the sizes were chosen by them.

Prints a Markdown table with one row per candidate. head: a ridge head's accuracy. precision@10: the share of the 10
nearest (by cosine) that have the query's class. Each fifth of LABELLED in turn is tested against the others.
views: one half of the views is searched for the other half; the share of the 10 nearest that show the same photograph.
Needs 'fc7[train]'.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fc7.cli.demo import own_photographs
from fc7.cli.folder_scan import FolderScan
from fc7.demo.photograph_views import take_views
from fc7.demo.pixel_baseline import nearest_rows, ridge_labels
from fc7_models.data.dataset import read_dataset, training_files
from fc7_models.data.inference import read_batches
from fc7_models.export.layer_pooling import SHRINK, fit_whitening, half_size
from fc7_models.export.torch_to_onnx import fold_batch_norm
from fc7_models.networks import Network
from fc7_models.training.trained_network import load_trained

SIZES_PX = (64, 96, 128)
HALF = "64 of 128"  # the picture of 128 pixels at half its size
# (groups of sizes that are whitened together, each to so many values; the shrinkage of the variances).
CANDIDATES: list[tuple[list[tuple[tuple[int | str, ...], int]], float]] = [
    *(([((px,), 1024)], SHRINK) for px in SIZES_PX),
    ([((128, HALF), 1024)], SHRINK),
    ([((128, HALF), 2048)], SHRINK),
    ([((128,), 512), ((HALF,), 512)], SHRINK),
    ([((128,), 768), ((HALF,), 768)], SHRINK),
    *(([((128,), 1024), ((HALF,), 512)], shrink) for shrink in (1.0, 4.0, 16.0, 64.0)),
    ([((128,), 1024), ((HALF,), 1024)], SHRINK),
]
PICTURES = 4000  # to fit the whitening on
FOLDS = 5
K = 10

Pooled = dict[int | str, Tensor]


def main() -> None:
    """Print the table."""
    checkpoint, training, labelled, photographs = map(Path, sys.argv[1:])
    trained, data = load_trained(checkpoint), read_dataset(labelled, "test")
    module, order = fold_batch_norm(trained.module), np.random.default_rng(0).permutation
    paths = training_files([training], trained.record.near)
    held = order(len(data.paths)) % FOLDS
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        views = take_views(own_photographs(photographs, FolderScan()), Path(folder), lambda done: None)
        learnt = pooled(module, trained.network, [paths[i] for i in order(len(paths))[:PICTURES]])
        plain = pooled(module, trained.network, data.paths)
        seen = pooled(module, trained.network, [view.path for view in views])
    names = np.array([view.photograph for view in views])
    print("| pixels: values | shrinkage | head | precision@10 | views |\n|---|---|---|---|---|")
    for groups, shrink in CANDIDATES:
        maps = [(sizes, fit_whitening(together(learnt, sizes), dim, shrink)) for sizes, dim in groups]
        x, y = (torch.cat([one(together(part, sizes)) for sizes, one in maps], 1).numpy() for part in (plain, seen))
        head, precision = rate(x, np.array(data.labels), held)
        same = names[::2][nearest_rows(y[1::2], y[::2], K)] == names[1::2, None]
        what = ", ".join(f"{' with '.join(map(str, sizes))}: {dim}" for sizes, dim in groups)
        print(f"| {what} | {shrink:g} | {head:.3f} | {precision:.3f} | {same.mean():.3f} |", flush=True)


def pooled(module: nn.Module, network: Network, files: Sequence[Path]) -> Pooled:
    """Return pool5 (N, 9 C) at each size."""
    features: dict[int | str, list[Tensor]] = {size: [] for size in (*SIZES_PX, HALF)}
    for px in SIZES_PX:
        recipe = replace(network.recipe, resize_px=px, crop_px=px)
        for batch in read_batches(files, recipe, lambda done, total: None):
            x = torch.from_numpy(batch)
            features[px].append(module(x)["pool5"].flatten(1))
            if px == max(SIZES_PX):
                features[HALF].append(module(half_size(x))["pool5"].flatten(1))
    return {size: torch.cat(parts) for size, parts in features.items()}


def together(features: Pooled, sizes: Sequence[int | str]) -> Tensor:
    """Return the features of several sizes side by side."""
    return torch.cat([features[size] for size in sizes], 1)


def rate(x: np.ndarray, labels: np.ndarray, held: np.ndarray) -> tuple[float, float]:
    """Return the head's accuracy and the neighbours' precision@10."""
    n_right = n_same = 0
    for fold in range(FOLDS):
        test = held == fold
        predicted = ridge_labels(x[~test], labels[~test].tolist(), x[test])
        n_right += int((np.array(predicted) == labels[test]).sum())
        n_same += int((labels[~test][nearest_rows(x[test], x[~test], K)] == labels[test][:, None]).sum())
    return n_right / len(labels), n_same / (K * len(labels))


if __name__ == "__main__":
    main()
