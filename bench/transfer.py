"""Measure how well a model's features serve pictures of other classes.

    python bench/transfer.py TRAIN TEST [MODEL]

TRAIN and TEST are folders with one sub-folder per class. Prints a Markdown table for the model's card, with two figures
per row: the accuracy on TEST of a head trained on TRAIN, and precision@10, the share of the 10 nearest pictures of
TRAIN (by cosine) that have the query's class. The rows are each layer before the logits of fewer than 16,384 values;
the default layer of the untrained network (only fc7's own networks); histograms of oriented gradients; and 32 x 32 raw
pixels. The head on the last two is a ridge regression. Needs 'fc7[train,demo]'.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import fc7
from fc7.demo.pixel_baseline import nearest_rows, pixel_values, ridge_labels

MAX_DIM = 2**14
K = 10
HOG_PX = 64  # 9 directions in cells of 8 px, normalised in blocks of 2 x 2: 1,764 values


@dataclass(frozen=True)
class Pictures:
    """Pictures to train on and pictures to test, with their labels."""

    paths: list[Path]
    labels: list[str]
    queries: list[Path]
    wanted: list[str]

    def print_row(self, name: str, predicted: list[str], neighbours: list[list[str]]) -> None:
        """Print the head's accuracy and the neighbours' precision."""
        head = sum(a == b for a, b in zip(self.wanted, predicted, strict=True)) / len(self.wanted)
        same = sum(label == w for w, row in zip(self.wanted, neighbours, strict=True) for label in row)
        print(f"| {name} | {head:.3f} | {same / (K * len(self.wanted)):.3f} |", flush=True)


def read(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the paths of a folder's pictures and their labels."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    return paths, [p.relative_to(folder).parts[0] for p in paths]


def rate_layer(client: fc7.Client, layer: str, name: str, pictures: Pictures) -> None:
    """Print the row of a layer, from a head and a collection as a user would make them."""
    collection = client.create_collection(layer, layer=layer)
    payloads = [{"label": label} for label in pictures.labels]
    collection.add(pictures.paths, ids=map(str, range(len(pictures.paths))), payloads=payloads)
    client.train_head(layer, collection=layer)
    client.publish_head(layer)
    answers = client.classify(pictures.queries, head=layer)
    hits = [row for row in collection.search_many(pictures.queries, k=K) if not isinstance(row, fc7.Fc7Error)]
    neighbours = [[str(hit.payload["label"]) for hit in row] for row in hits]
    pictures.print_row(name, [answer.label for answer in answers], neighbours)


def rate_values(name: str, items: NDArray[np.float32], queries: NDArray[np.float32], pictures: Pictures) -> None:
    """Print the row of values that fc7 did not compute, one picture per row."""
    rows = [[pictures.labels[i] for i in row] for row in nearest_rows(queries, items, K)]
    pictures.print_row(name, ridge_labels(items, pictures.labels, queries), rows)


def untrained(model: fc7.Model, pictures: Pictures, folder: Path) -> Path | None:
    """Write the bundle of the model's network with random weights; None if it is not a network of fc7."""
    import torch

    from fc7_models.export.export_trained import export_bundle
    from fc7_models.export.layer_pooling import POOLED_LAYER
    from fc7_models.networks import NETWORKS
    from fc7_models.training.plan import Plan
    from fc7_models.training.trained_network import TrainedNetwork, TrainingRecord

    if model.network not in NETWORKS:
        return None
    torch.manual_seed(0)
    module = NETWORKS[model.network].build(2).eval()
    facts = TrainingRecord(Plan(model.network), ["a", "b"], {}, "none", "this machine", 0, 0.0, 0, 0.0, 0.0)
    has_pooled = POOLED_LAYER in {layer.name for layer in model.layers}
    export_bundle(
        TrainedNetwork(module, facts), folder, name="untrained", pictures=pictures.paths if has_pooled else []
    )
    return folder


def gradients(paths: list[Path]) -> NDArray[np.float32]:
    """Return histograms of oriented gradients (Dalal & Triggs 2005), (N, 1764)."""
    from skimage.feature import hog

    def one(path: Path) -> NDArray[np.float32]:
        pixels = np.asarray(Image.open(path).convert("RGB").resize((HOG_PX, HOG_PX)))
        return np.asarray(hog(pixels, cells_per_block=(2, 2), channel_axis=-1), np.float32)

    return np.stack([one(path) for path in paths])


def main() -> None:
    """Print the table."""
    train, test, *models = sys.argv[1:]
    pictures = Pictures(*read(Path(train)), *read(Path(test)))
    n_classes = len(set(pictures.labels))
    print(f"{len(pictures.paths)} pictures to train on, {len(pictures.queries)} to test, {n_classes} classes\n")
    print("| layer | head | precision@10 |\n|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        with fc7.connect(data=Path(scratch) / "trained", models=models) as client:
            model = client.models()[0]
            for layer in model.layers:
                if layer.name != "logits" and layer.dim < MAX_DIM:
                    rate_layer(client, layer.name, layer.name, pictures)
        if (bundle := untrained(model, pictures, Path(scratch) / "bundle")) is not None:
            with fc7.connect(data=Path(scratch) / "untrained", models=[str(bundle)]) as client:
                rate_layer(client, model.default_layer, f"{model.default_layer}, untrained", pictures)
    rate_values("gradients (HOG)", gradients(pictures.paths), gradients(pictures.queries), pictures)
    items, queries = (pixel_values([Image.open(p) for p in part]) for part in (pictures.paths, pictures.queries))
    rate_values("raw pixels", items, queries, pictures)


if __name__ == "__main__":
    main()
