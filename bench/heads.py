"""Measure heads beside scikit-learn: time, accuracy and memory, in one run.

    python bench/heads.py [--search] [--only ROW,ROW] [ROWSxDIMxCLASSES | FEATURES.npz] ...

The features of a size are drawn; by default 20000x1024x200. FEATURES.npz has float32 `values` (N, D) and `labels` (N,),
and every fourth row is tested. Each fit runs in a process of its own.

chosen          fc7 chooses its method and strength, fits and calibrates
instant         an instant head from nothing: sums over the rows, strength chosen
warm            an instant head from sums that are kept, with a strength that was chosen before
sklearn         one fit of LogisticRegression with its default strength, on features of unit average variance
sklearn-cv      with --search: LogisticRegressionCV, ten strengths in five folds, which takes long

Prints a Markdown table: seconds on the clock and of the processor, and their ratios to the last row, accuracy on unseen
rows with a 95 % interval, and the memory above the features at the peak, as a share of the features. On a busy machine
only the ratios of processor time mean something. Needs Linux, 'fc7[cpu]' and scikit-learn.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fc7.evaluation import wilson_interval
from fc7_service.collections.class_moments import Change, ClassMoments
from fc7_service.heads.classifier import SoftmaxLayer
from fc7_service.heads.fit import STRENGTHS, FittedHead, fit_head
from fc7_service.heads.instant import N_SAMPLED, RowSums, fit_instant

RANK, SUB_CLASSES, NOISE = 256, 8, 2.5
N_TESTED = 4000
ROWS = ["chosen", "instant", "warm", "sklearn", "sklearn-cv"]
Answers = Callable[[NDArray[np.float32]], NDArray[np.str_]]


class Data(NamedTuple):
    """Rows to fit and rows to test."""

    features: NDArray[np.float32]
    labels: NDArray[np.str_]
    queries: NDArray[np.float32]
    wanted: NDArray[np.str_]


def draw(n_rows: int, dim: int, n_classes: int) -> Data:
    """Draw rectified sums of a class, a sub-class and noise, whose variances fall as in a network's features."""
    rng = np.random.default_rng(0)
    spread = np.arange(1, RANK + 1) ** -0.5
    mix = rng.standard_normal((RANK, dim)) / RANK**0.5
    centres = rng.standard_normal((n_classes, RANK)) * spread
    sub_centres = 0.7 * rng.standard_normal((n_classes, SUB_CLASSES, RANK)) * spread

    def rows(count: int) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
        y = np.arange(count) % n_classes
        hidden = centres[y] + sub_centres[y, rng.integers(0, SUB_CLASSES, count)]
        hidden += NOISE * rng.standard_normal((count, RANK)) * spread
        features = np.maximum(hidden.astype(np.float32) @ mix.astype(np.float32) - np.float32(0.4), 0)
        return features, np.array([f"c{i:04d}" for i in y])

    return Data(*rows(n_rows), *rows(N_TESTED))


def read(name: str) -> Data:
    """Return the data of a size or of a file."""
    if not name.endswith(".npz"):
        n_rows, dim, n_classes = map(int, name.split("x"))
        return draw(n_rows, dim, n_classes)
    stored = np.load(name)
    values, labels = stored["values"], stored["labels"]
    is_tested = np.arange(len(labels)) % 4 == 3
    return Data(values[~is_tested], labels[~is_tested], values[is_tested], labels[is_tested])


def prepare(method: str, data: Data) -> Callable[[], Answers]:
    """Import what a method needs, and make what it is given; return the function to be measured."""
    if method.startswith("sklearn"):
        from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

        def fit_sklearn() -> Answers:
            scale = np.float32(data.features.var(axis=0).mean() ** 0.5)
            model = LogisticRegression() if method == "sklearn" else LogisticRegressionCV()
            model.fit(data.features / scale, data.labels)
            return lambda queries: model.predict(queries / scale)

        return fit_sklearn

    import scipy.linalg
    import scipy.sparse  # noqa: F401
    import threadpoolctl  # noqa: F401

    if method == "chosen":
        return lambda: answers_of(
            fit_head(data.features, data.labels.tolist(), [str(i) for i in range(len(data.labels))])
        )
    if method == "instant":
        return lambda: fit_from_sums(data, sum_up(data), STRENGTHS["ridge"])[0]
    sums = sum_up(data)
    strength = fit_from_sums(data, sums, STRENGTHS["ridge"])[1]
    return lambda: fit_from_sums(data, sums, (strength,))[0]


def sum_up(data: Data) -> ClassMoments:
    """Return the sums that a server keeps for a collection of these rows."""
    sums = ClassMoments(data.features[:512].mean(axis=0))
    sums.apply(Change(row, None, label) for row, label in zip(data.features, data.labels.tolist(), strict=True))
    return sums


def fit_from_sums(data: Data, sums: ClassMoments, strengths: Sequence[float]) -> tuple[Answers, float]:
    """Return an instant head, judged on as many rows as in the server, and the strength of its penalty."""
    moments = sums.read()
    sampled = np.random.default_rng(0).permutation(len(data.labels))[:N_SAMPLED]
    y = np.searchsorted(np.array(moments.classes), data.labels[sampled])
    head = fit_instant(RowSums(*moments), data.features[sampled], y, strengths)
    return answers_of(FittedLayer(head.softmax, moments.classes)), head.strength


class FittedLayer(NamedTuple):
    """A layer and the names of its classes."""

    softmax: SoftmaxLayer
    classes: tuple[str, ...]


def answers_of(fitted: FittedLayer | FittedHead) -> Answers:
    """Return the function that classifies rows."""
    classes = np.array(fitted.classes)
    return lambda queries: classes[fitted.softmax.logits(queries).argmax(axis=1)]


def memory_bytes() -> int:
    """Return the memory of this process that is resident (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def measure(name: str, method: str) -> dict[str, float]:
    """Fit once, in this process."""
    data = read(name)
    fit = prepare(method, data)
    before, peak, has_ended = memory_bytes(), [0], threading.Event()

    def watch() -> None:
        while not has_ended.wait(0.003):
            peak[0] = max(peak[0], memory_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start, start_cpu = time.perf_counter(), time.process_time()
    answers = fit()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    has_ended.set()
    watcher.join()
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "right": int(np.sum(answers(data.queries) == data.wanted)),
        "tested": len(data.wanted),
        "memory": max(peak[0] - before, 0) / data.features.nbytes,
    }


def main() -> None:
    """Print one table per size or file."""
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(*sys.argv[2:])))
        return
    options = argparse.ArgumentParser()
    options.add_argument("--search", action="store_true")
    options.add_argument("--only", type=lambda text: text.split(","), default=ROWS)
    options.add_argument("names", nargs="*", default=["20000x1024x200"])
    asked = options.parse_args()
    methods = [row for row in ROWS if row in asked.only and (row != "sklearn-cv" or asked.search)]
    for name in asked.names:
        print(f"{Path(name).name}\n\n| fit | s | ratio | processor s | ratio | accuracy | memory / features |")
        print("|---|---|---|---|---|---|---|")
        found = {}
        for method in methods:
            command = [sys.executable, __file__, "--measure", name, method]
            found[method] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        reference = found[methods[-1]]
        for method, one in found.items():
            low, high = wilson_interval(one["right"], one["tested"])
            times = [f"{one[key]:.2f} | {one[key] / reference[key]:.4f}" for key in ("seconds", "cpu_seconds")]
            accuracy = f"{one['right'] / one['tested']:.3f} ({low:.3f} to {high:.3f})"
            print(f"| {method} | {' | '.join(times)} | {accuracy} | {one['memory']:.2f} |")
        print(flush=True)


if __name__ == "__main__":
    main()
