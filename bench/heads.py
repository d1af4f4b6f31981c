"""Measure a head beside scikit-learn: time, accuracy and memory, in one run.

    python bench/heads.py [--search] [ROWSxDIMxCLASSES | FEATURES.npz] ...

The features of a size are drawn; by default 20000x1024x200. FEATURES.npz has float32 `values` (N, D) and `labels` (N,),
and every fourth row is tested. Each fit runs in a process of its own. fc7 chooses its method and strength, fits and
calibrates. scikit-learn's LogisticRegression is one fit with its default strength, on features of unit average
variance. With --search, its LogisticRegressionCV chooses among ten strengths in five folds, which takes long.

Prints a Markdown table: seconds on the clock and of the processor, fc7's share of them, accuracy on unseen rows with a
95 % interval, and the memory above the features at the peak, as a share of the features. Needs Linux, 'fc7[cpu]' and
scikit-learn.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fc7.evaluation import wilson_interval

RANK, SUB_CLASSES, NOISE = 256, 8, 2.5
N_TESTED = 4000
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


def prepare(method: str) -> Callable[[Data], Answers]:
    """Import what a method needs; return the function that fits it."""
    if method == "fc7":
        import scipy.linalg
        import scipy.sparse  # noqa: F401

        from fc7_service.heads.fit import fit_head

        def fit_fc7(data: Data) -> Answers:
            groups = [str(i) for i in range(len(data.labels))]
            fitted = fit_head(data.features, data.labels.tolist(), groups)
            classes = np.array(fitted.classes)
            return lambda queries: classes[fitted.softmax.logits(queries).argmax(axis=1)]

        return fit_fc7

    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

    def fit_sklearn(data: Data) -> Answers:
        scale = np.float32(data.features.var(axis=0).mean() ** 0.5)
        model = LogisticRegression() if method == "LogisticRegression" else LogisticRegressionCV()
        model.fit(data.features / scale, data.labels)
        return lambda queries: model.predict(queries / scale)

    return fit_sklearn


def memory_bytes() -> int:
    """Return the memory of this process that is resident (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def measure(name: str, method: str) -> dict[str, float]:
    """Fit once, in this process."""
    data, fit = read(name), prepare(method)
    before, peak, has_ended = memory_bytes(), [0], threading.Event()

    def watch() -> None:
        while not has_ended.wait(0.003):
            peak[0] = max(peak[0], memory_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start, start_cpu = time.perf_counter(), time.process_time()
    answers = fit(data)
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
    names = [argument for argument in sys.argv[1:] if argument != "--search"] or ["20000x1024x200"]
    methods = ["fc7", "LogisticRegression"] + ["LogisticRegressionCV"] * ("--search" in sys.argv)
    for name in names:
        print(f"{Path(name).name}\n\n| fit | s | ratio | processor s | ratio | accuracy | memory / features |")
        print("|---|---|---|---|---|---|---|")
        found = {}
        for method in methods:
            command = [sys.executable, __file__, "--measure", name, method]
            found[method] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        ours = found["fc7"]
        for method, one in found.items():
            low, high = wilson_interval(one["right"], one["tested"])
            times = [f"{one[key]:.1f} | {ours[key] / one[key]:.2f}" for key in ("seconds", "cpu_seconds")]
            accuracy = f"{one['right'] / one['tested']:.3f} ({low:.3f} to {high:.3f})"
            print(f"| {method} | {' | '.join(times)} | {accuracy} | {one['memory']:.2f} |")
        print(flush=True)


if __name__ == "__main__":
    main()
