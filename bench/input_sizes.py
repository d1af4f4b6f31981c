"""Measure the accuracy of a trained network by the size that pictures are resized to and cropped to.

    python bench/input_sizes.py CHECKPOINT FOLDER

CHECKPOINT is the `trained.pt` of a run, FOLDER its data. Prints a Markdown table, one row per pair of sizes, with the
accuracy on 2,000 validation pictures, a fixed random choice. A size chosen from this table was chosen on validation
pictures; say so where you quote their accuracy. Needs 'fc7[train]'.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from fc7_models.data.dataset import read_dataset
from fc7_models.data.inference import read_batches
from fc7_models.export.torch_to_onnx import fold_batch_norm
from fc7_models.training.trained_network import load_trained

SIZES_PX = ((64, 64), (68, 64), (70, 64), (72, 64), (72, 72), (76, 72), (80, 72), (80, 80), (88, 80))
PICTURES = 2000


def main() -> None:
    """Print the table."""
    checkpoint, folder = map(Path, sys.argv[1:])
    trained, data = load_trained(checkpoint), read_dataset(folder, "val")
    module, number = fold_batch_norm(trained.module), {name: i for i, name in enumerate(trained.record.classes)}
    rows = np.sort(np.random.default_rng(0).permutation(len(data.paths))[:PICTURES])
    wanted = torch.tensor([number[data.labels[i]] for i in rows])
    print("| resized to | cropped to | top-1 | top-5 |\n|---|---|---|---|")
    for resize_px, crop_px in SIZES_PX:
        recipe = replace(trained.network.recipe, resize_px=resize_px, crop_px=crop_px)
        batches = read_batches([data.paths[i] for i in rows], recipe, lambda done, total: None)
        with torch.inference_mode():
            logits = torch.cat([module(torch.from_numpy(batch))["logits"] for batch in batches])
        is_right = logits.topk(5).indices == wanted[:, None]
        top1, top5 = is_right[:, 0].float().mean(), is_right.any(1).float().mean()
        print(f"| {resize_px} | {crop_px} | {top1:.1%} | {top5:.1%} |", flush=True)


if __name__ == "__main__":
    main()
