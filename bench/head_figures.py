"""Measure heads on real pictures: accuracy beside simpler features, and the coverage of sets of classes.

    python bench/head_figures.py FOLDER [SPLITS [MODEL]]

FOLDER holds clothing-mini and cifar10-mini, each with train/ and test/ and one sub-folder per class. The digits of
scikit-learn are the third data set; every fourth one is tested.

The first table has the accuracy on the test pictures, with 95 % intervals, of heads on the default layer of MODEL (by
default the first that fc7 serves), on the same layer of the network with random weights, on histograms of oriented
gradients (HOG) and on 32 x 32 raw pixels, and of scikit-learn's LogisticRegression on the layer of MODEL. The second
table is that of coverage_of_sets.py for the first two data sets, with SPLITS splits (by default 20). Needs
'fc7[train,demo]' and scikit-learn.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from coverage_of_sets import print_coverage
from numpy.typing import NDArray
from PIL import Image
from transfer import Pictures, gradients, untrained

import fc7
from fc7.demo.pixel_baseline import pixel_values
from fc7.evaluation import wilson_interval
from fc7_service.heads.fit import fit_head

Matrix = NDArray[np.float32]


class Set(NamedTuple):
    """Pictures, their labels, and which are for training."""

    name: str
    paths: list[Path]
    labels: NDArray[np.str_]
    is_trained: NDArray[np.bool_]


def read_sets(folder: Path, scratch: Path) -> Iterator[Set]:
    """Yield the three data sets."""
    for name in ("clothing-mini", "cifar10-mini"):
        paths = sorted(p for part in ("train", "test") for p in (folder / name / part).rglob("*") if p.is_file())
        labels = np.array([p.parent.name for p in paths])
        yield Set(name, paths, labels, np.array([p.parent.parent.name == "train" for p in paths]))
    from sklearn.datasets import load_digits

    digits = load_digits()
    paths = []
    for i, pixels in enumerate(digits.images):
        paths.append(scratch / f"{i:04d}.png")
        Image.fromarray((pixels * 15.9).astype(np.uint8)).resize((64, 64)).save(paths[-1])
    yield Set("digits", paths, digits.target.astype(str), np.arange(len(paths)) % 4 != 3)


def print_accuracy(data: Set, name: str, answers: NDArray[np.str_]) -> None:
    """Print a row of the first table."""
    wanted = data.labels[~data.is_trained]
    n_right = int(np.sum(answers == wanted))
    low, high = wilson_interval(n_right, len(wanted))
    print(f"| {data.name} | {name} | {n_right / len(wanted):.3f} ({low:.3f} to {high:.3f}) |", flush=True)


def ask_head(data: Set, features: Matrix) -> NDArray[np.str_]:
    """Return what a head of the training pictures says about the others."""
    labels = data.labels[data.is_trained].tolist()
    fitted = fit_head(features[data.is_trained], labels, [str(i) for i in range(len(labels))])
    return np.array(fitted.classes)[fitted.softmax.logits(features[~data.is_trained]).argmax(axis=1)]


def ask_sklearn(data: Set, features: Matrix) -> NDArray[np.str_]:
    """Return what LogisticRegression says, on features of unit average variance."""
    from sklearn.linear_model import LogisticRegression

    scale = np.float32(features[data.is_trained].var(axis=0).mean() ** 0.5)
    model = LogisticRegression(max_iter=1000).fit(features[data.is_trained] / scale, data.labels[data.is_trained])
    return np.asarray(model.predict(features[~data.is_trained] / scale))


def main() -> None:
    """Print both tables."""
    data_folder, *rest = sys.argv[1:]
    n_splits, models = int(rest[0]) if rest else 20, rest[1:]
    kept: dict[str, tuple[Matrix, NDArray[np.str_]]] = {}
    print("| pictures | head on | accuracy |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        (scratch / "digits").mkdir()
        for data in read_sets(Path(data_folder), scratch / "digits"):
            with fc7.connect(data=scratch / f"{data.name}-trained", models=models) as client:
                model = client.models()[0]
                features = client.extract(data.paths).values
            print_accuracy(data, f"{model.name} {model.default_layer}", ask_head(data, features))
            print_accuracy(data, "the same, scikit-learn", ask_sklearn(data, features))
            kept[data.name] = features, data.labels
            trained = [path for path, use in zip(data.paths, data.is_trained, strict=True) if use]
            if (bundle := untrained(model, Pictures(trained, [], [], []), scratch / f"{data.name}-bundle")) is not None:
                with fc7.connect(data=scratch / f"{data.name}-untrained", models=[str(bundle)]) as client:
                    random = client.extract(data.paths, layer=model.default_layer).values
                print_accuracy(data, "the same network, random weights", ask_head(data, random))
            print_accuracy(data, "gradients (HOG)", ask_head(data, gradients(data.paths)))
            pixels = pixel_values([Image.open(path) for path in data.paths])
            print_accuracy(data, "raw pixels", ask_head(data, pixels.astype(np.float32)))
    print_coverage({name: kept[name] for name in ("clothing-mini", "cifar10-mini")}, n_splits)


if __name__ == "__main__":
    main()
