"""Measure how much of its time training spends on its input: the real loop against the same steps without input.

    make bench-train
    python bench/training_speed.py [FOLDER [NETWORK [RECIPE [EPOCH]]]]

FOLDER is read as `fc7 model train` reads it; without one, noise is used. Both loops take the same steps at the picture
size of EPOCH, in short turns, so that other work of the machine slows both. Prints one line: the picture size, pictures
per second from the folder and from tensors in memory, and their ratio. A ratio of 1 means that input costs nothing.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fc7_models.data.training_set import read_training_set
from fc7_models.networks import find_network
from fc7_models.training.plan import make_plan
from fc7_models.training.precision import choose_precision
from fc7_models.training.process_group import single_process
from fc7_models.training.recipes import find_recipe
from fc7_models.training.trainer import Trainer, TrainingSetup

TURNS = 12
STEPS = 4  # per turn
N_NOISE = 640  # pictures of noise in each of two classes


def write_noise(folder: Path) -> Path:
    """Write two classes of noise and return the folder."""
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for i in range(N_NOISE):
            Image.fromarray(generator.integers(0, 256, (64, 64, 3), np.uint8)).save(folder / name / f"{i}.png")
    return folder


def make_trainer(folder: Path, network: str, recipe: str, cache: Path) -> Trainer:
    """Return the trainer of a run on ``folder``."""
    job = TrainingSetup(make_plan(network, recipe=recipe), find_network(network), find_recipe(recipe))
    trainer = Trainer(job, read_training_set([folder], job.network.recipe, cache), single_process())
    trainer.precision = choose_precision(trainer.processes, trainer.time_step)
    return trainer


def endless(trainer: Trainer, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of an epoch again and again."""
    while True:
        yield from trainer.batches(epoch)


def seconds(trainer: Trainer, batches: Iterator[tuple[Tensor, Tensor]]) -> float:
    """Return the seconds of one turn."""
    began = time.perf_counter()
    for _ in range(STEPS):
        trainer.step(*next(batches))
    if trainer.processes.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> None:
    """Measure and print the line."""
    folder, network, recipe, epoch = [*sys.argv[1:], *("", "alexnet-64", "modern", "0")[len(sys.argv) - 1 :]]
    with tempfile.TemporaryDirectory() as temporary:
        cache = Path(temporary)
        trainer = make_trainer(
            Path(folder) if folder else write_noise(cache / "noise"), network, recipe, cache / "cache"
        )
        loop = endless(trainer, int(epoch))
        x, labels = next(loop)
        memory = itertools.repeat((torch.randn_like(x), labels))
        seconds(trainer, loop), seconds(trainer, memory)  # to warm up
        real, ideal = np.sum([(seconds(trainer, loop), seconds(trainer, memory)) for _ in range(TURNS)], axis=0)
    n = TURNS * STEPS * trainer.batch
    print(
        f"{network}, {recipe}, {x.shape[-1]} pixels, batch {trainer.batch}, {trainer.precision} on "
        f"{trainer.processes.hardware}: {n / real:.0f} pictures/s from the folder, {n / ideal:.0f} from memory, "
        f"ratio {ideal / real:.3f}"
    )


if __name__ == "__main__":
    main()
