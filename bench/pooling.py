"""Compare ways to turn the maps of conv5 into one feature, for finding altered views and for telling classes apart.

    python bench/pooling.py PHOTOGRAPHS LABELLED TRAINING_PICTURES... [--model MODEL ...]

PHOTOGRAPHS is a folder, of which the first 150 files are used; ``altered_copies.py`` makes ten views of each. LABELLED
has one sub-folder per class. Whitening is learnt from 2,000 of TRAINING_PICTURES. MODEL defaults to all shipped models.
Do not quote figures on the same pictures, since the layer was chosen by them.

Prints three Markdown tables per model. views: each view is searched among all others; the share of the 9 nearest that
show the same photograph. head: accuracy of a ridge head; neighbours: the share of the 10 nearest that have the query's
class. For both, each picture of LABELLED in turn is tested against the others. All searches are by cosine.

With the mirrored picture, the features of both are added before they are whitened. The last table is what a picture
costs on one thread, in batches of 32. Needs 'fc7[cpu,train]'.

References
----------
GeM: Radenovic et al. 2018, "Fine-tuning CNN image retrieval with no human annotation", equation 3.
R-MAC: Tolias et al. 2016, "Particular object retrieval with integral max-pooling", section 3.2.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from altered_copies import N_VIEWS, write_views
from torch import Tensor
from torch.nn import functional

from fc7.cli.folder_scan import FolderScan
from fc7.cli.image_arguments import find_images
from fc7_models.data.dataset import read_dataset, training_files
from fc7_models.data.inference import RunGraph, open_graph, open_model, read_batches
from fc7_models.export.layer_pooling import fit_whitening, half_size
from fc7_service.bundle.bundle import Bundle
from fc7_service.bundle.folder import shipped_bundles
from fc7_service.bundle.onnx_file import cut_graph

N_PHOTOGRAPHS, N_LEARNT = 150, 2000
WHOLE_PX, HALF_PX = 128, 64
SIZES: tuple[tuple[int, ...], ...] = ((HALF_PX,), (WHOLE_PX,), (WHOLE_PX, HALF_PX))
GEM_DIMS = (64, 128, 256, 384, 512)  # of the second table
LARGEST_DIM = 1024  # of whitening, per size
K = 10
PENALTIES = (0.01, 0.1, 0.5, 2.0)  # of the ridge head, times the number of pictures
COST_BATCH, COST_ROUNDS = 32, 3

Features = dict[tuple[str, int, bool], Tensor]  # (pooling, pixels, of the mirrored picture) -> (N, D)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photographs", type=Path)
    parser.add_argument("labelled", type=Path)
    parser.add_argument("training", type=Path, nargs="+")
    parser.add_argument("--model", nargs="+", default=list(shipped_bundles()))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    photographs = [file.path for file in find_images([asked.photographs], FolderScan())][:N_PHOTOGRAPHS]
    labelled, training = read_dataset(asked.labelled, "test"), training_files(asked.training)
    labels = torch.from_numpy(np.unique(labelled.labels, return_inverse=True)[1])
    chosen = [training[i] for i in np.sort(np.random.default_rng(0).permutation(len(training))[:N_LEARNT])]
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        views = write_views(photographs, Path(folder))
        for name in asked.model:
            bundle = open_model(name)
            run = open_graph(cut_graph(bundle.graph(), ["conv5"]), threads=1)
            learnt, seen, plain = (pool_files(bundle, run, files) for files in (chosen, views, labelled.paths))
            print_tables(bundle.name, learnt, seen, plain, labels)
            print_costs(bundle, run)


def gem(power: float) -> Callable[[Tensor], Tensor]:
    """Return generalised-mean pooling of maps (N, C, H, W) to (N, C)."""
    return lambda maps: maps.clamp(min=1e-6).pow(power).mean((2, 3)).pow(1 / power)


def r_mac(maps: Tensor) -> Tensor:
    """Return the sum of the maxima of square regions, each scaled to length one: (N, C).

    The sides are 1, 2/3 and 1/2 of the map, with 1, 2 x 2 and 3 x 3 regions: neighbours overlap by at least 40 %.
    """
    regions, side = [], maps.shape[2]
    for level in (1, 2, 3):
        width = max(1, 2 * side // (level + 1))
        starts = np.linspace(0, side - width, level).round().astype(int)
        regions += [maps[:, :, y : y + width, x : x + width].amax((2, 3)) for y in starts for x in starts]
    return torch.stack([functional.normalize(region) for region in regions]).sum(0)


POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean (GeM 1)": lambda maps: maps.mean((2, 3)),
    "GeM 2": gem(2),
    "GeM 3": gem(3),
    "GeM 5": gem(5),
    "maximum": lambda maps: maps.amax((2, 3)),
    "R-MAC": r_mac,
    "3 x 3 maxima": lambda maps: functional.adaptive_max_pool2d(maps, 3).flatten(1),
}


def pool_files(bundle: Bundle, run: RunGraph, files: Sequence[Path]) -> Features:
    """Return every pooling of pictures at both sizes, also of the mirrored pictures; each row has length one."""
    recipe = replace(bundle.recipe, resize_px=WHOLE_PX, crop_px=WHOLE_PX)
    features: dict[tuple[str, int, bool], list[Tensor]] = {}
    for batch in read_batches(files, recipe, lambda done, total: None):
        for is_mirrored in (False, True):
            x = torch.from_numpy(batch).flip(3) if is_mirrored else torch.from_numpy(batch)
            for px, inputs in ((WHOLE_PX, x), (HALF_PX, half_size(x))):
                maps = torch.from_numpy(run(inputs.numpy(), ["conv5"])[0])
                for name, pool in POOLINGS.items():
                    features.setdefault((name, px, is_mirrored), []).append(functional.normalize(pool(maps)))
    return {key: torch.cat(parts) for key, parts in features.items()}


def print_tables(name: str, learnt: Features, seen: Features, plain: Features, labels: Tensor) -> None:
    """Print the table of all poolings, and that of the lengths of a whitened GeM 3."""
    print(f"\n{name}: views, head, neighbours\n")
    print("| pooling | pixels | values | as it is | mirrored too | whitened | whitened, mirrored too |")
    print("|---|---|---|---|---|---|---|")
    for pooling in POOLINGS:
        rows = {}  # (pixels, mirrored too, whitened) -> views, labelled pictures
        for px in (WHOLE_PX, HALF_PX):
            for with_mirrored in (False, True):
                source, *parts = (of_size(one, pooling, px, with_mirrored) for one in (learnt, seen, plain))
                whiten = fit_whitening(source, LARGEST_DIM)
                rows[px, with_mirrored, False] = parts
                rows[px, with_mirrored, True] = [whiten(part) for part in parts]
        for sizes in SIZES:
            cells = [
                rate(*(torch.cat(part, 1) for part in zip(*(rows[px, *how] for px in sizes), strict=True)), labels)
                for how in ((False, False), (True, False), (False, True), (True, True))
            ]
            n = sum(rows[px, False, False][0].shape[1] for px in sizes)
            print(f"| {pooling} | {' and '.join(map(str, sizes))} | {n:,} | {' | '.join(cells)} |", flush=True)
    print("\n| GeM 3 at 128 and 64, whitened together to | as it is | mirrored too |\n|---|---|---|")
    for dim in GEM_DIMS:
        cells = []
        for with_mirrored in (False, True):
            source, *parts = (
                torch.cat([of_size(one, "GeM 3", px, with_mirrored) for px in SIZES[-1]], 1)
                for one in (learnt, seen, plain)
            )
            whiten = fit_whitening(source, dim)
            cells.append(rate(*(whiten(part) for part in parts), labels))
        print(f"| {dim} | {' | '.join(cells)} |", flush=True)


def of_size(features: Features, pooling: str, px: int, with_mirrored: bool) -> Tensor:
    """Return the rows (N, D) of one size, each of length one."""
    rows = features[pooling, px, False]
    return functional.normalize(rows + features[pooling, px, True]) if with_mirrored else rows


def rate(seen: Tensor, plain: Tensor, labels: Tensor) -> str:
    """Return a cell: precision@9 of the views, accuracy of a head and precision@10 of the labelled rows' neighbours."""
    photograph = torch.arange(len(seen)) // N_VIEWS
    views, neighbours = precision(seen, photograph, N_VIEWS - 1), precision(plain, labels, K)
    return f"{views:.3f} {head_accuracy(plain, labels):.3f} {neighbours:.3f}"


def precision(rows: Tensor, labels: Tensor, k: int) -> float:
    """Return the share of the ``k`` nearest others, by cosine, that have the row's label."""
    unit = functional.normalize(rows)
    nearest = (unit @ unit.T).fill_diagonal_(-2).topk(k, dim=1).indices
    return float((labels[nearest] == labels[:, None]).float().mean())


def head_accuracy(rows: Tensor, labels: Tensor) -> float:
    """Return the accuracy of ridge regression to the labels when each row is left out in turn.

    The penalty is the one with the least squared error of left-out rows. Those errors are ``r / (1 - h)``, of the
    residual r and the leverage h of the fit to all rows (Golub, Heath & Wahba 1979).
    """
    x = (rows - rows.mean(0)) / (rows.std(0) + 1e-6)
    targets = functional.one_hot(labels).float()
    y, gram, fits = targets - targets.mean(0), x.T @ x, []
    for penalty in PENALTIES:
        inverse_x = torch.linalg.solve(gram + penalty * len(x) * torch.eye(len(gram)), x.T)  # (D, N)
        leverage = (x * inverse_x.T).sum(1) + 1 / len(x)
        left_out = (y - x @ (inverse_x @ y)) / (1 - leverage)[:, None]
        fits.append((float((left_out**2).mean()), float(((targets - left_out).argmax(1) == labels).float().mean())))
    return min(fits)[1]


def print_costs(bundle: Bundle, run: RunGraph) -> None:
    """Print the milliseconds per picture of the convolutions and of each pooling, the best of some rounds."""
    x = torch.rand(COST_BATCH, 3, WHOLE_PX, WHOLE_PX)
    inputs = {WHOLE_PX: x.numpy(), HALF_PX: half_size(x).numpy()}
    maps = {px: torch.from_numpy(run(values, ["conv5"])[0]) for px, values in inputs.items()}
    print("\n| ms per picture | " + " | ".join(map(str, inputs)) + " |\n|---|---|---|")
    costs = [milliseconds(lambda px=px: run(inputs[px], ["conv5"])) for px in inputs]  # type: ignore[misc]
    print(f"| convolutions | {costs[0]:.2f} | {costs[1]:.2f} |")
    for name, pool in POOLINGS.items():
        costs = [milliseconds(lambda px=px, pool=pool: pool(maps[px])) for px in inputs]  # type: ignore[misc]
        print(f"| {name} | {costs[0]:.2f} | {costs[1]:.2f} |", flush=True)


def milliseconds(work: Callable[[], object]) -> float:
    """Return the shortest time of some rounds, per picture of the batch."""
    times = [time.perf_counter()]
    for _ in range(COST_ROUNDS):
        work()
        times.append(time.perf_counter())
    return min(after - before for before, after in pairwise(times)) * 1000 / COST_BATCH


if __name__ == "__main__":
    main()
