"""How well each layer's features serve other pictures: a head's accuracy and neighbours of the same class.

    python bench/transfer.py TRAIN TEST [MODEL]

TRAIN and TEST are folders with one sub-folder a class. Prints a Markdown table for the model's card, a row for
each layer before the logits of fewer than 16,384 numbers: a head trained on TRAIN and asked about TEST, and the
share of the 10 nearest pictures of TRAIN (cosine) that have the query's class. The last row is the same on
32 x 32 raw pixels, with a ridge head.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import fc7
from fc7.cli.raw import nearest, raw_values, ridge_labels

MAX_DIM = 2**14
K = 10


def read(folder: Path) -> tuple[list[Path], list[str]]:
    """Return paths and labels."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    return paths, [p.relative_to(folder).parts[0] for p in paths]


def share(wanted: list[str], found: list[str]) -> float:
    """Return how many agree."""
    return sum(a == b for a, b in zip(wanted, found, strict=True)) / len(wanted)


def precision(wanted: list[str], rows: list[list[str]]) -> float:
    """Return the share of neighbours of the query's class."""
    return sum(label == w for w, row in zip(wanted, rows, strict=True) for label in row) / (K * len(wanted))


def main() -> None:
    """Print the table."""
    train, test, *model = sys.argv[1:]
    (paths, labels), (queries, wanted) = read(Path(train)), read(Path(test))
    print(f"{len(paths)} pictures to train on, {len(queries)} to test, {len(set(labels))} classes\n")
    print("| layer | head | precision@10 |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as data, fc7.connect(data=data, models=model) as client:
        layers = [one.name for one in client.models()[0].layers if one.name != "logits" and one.dim < MAX_DIM]
        for layer in layers:
            client.train_head(layer, images=paths, labels=labels, layer=layer)
            client.publish_head(layer)
            answers = client.classify(queries, head=layer)
            collection = client.create_collection(layer, layer=layer)
            collection.add(paths, ids=map(str, range(len(paths))), payloads=[{"label": label} for label in labels])
            hits = [row for row in collection.search_many(queries, k=K) if not isinstance(row, fc7.Fc7Error)]
            found = [[hit.payload["label"] for hit in row] for row in hits]
            print(f"| {layer} | {share(wanted, [a.label for a in answers]):.3f} | {precision(wanted, found):.3f} |")
    x, z = (np.concatenate([raw_values([Image.open(path)]) for path in part]) for part in (paths, queries))
    rows = [[labels[i] for i in row] for row in nearest(z, x, K)]
    print(f"| raw pixels | {share(wanted, ridge_labels(x, labels, z)):.3f} | {precision(wanted, rows):.3f} |")


if __name__ == "__main__":
    main()
