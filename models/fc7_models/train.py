"""Train a network on labelled pictures; checkpoint every epoch, go on where it stopped."""

from __future__ import annotations

import csv
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fc7.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound
from fc7_models.augment import augment
from fc7_models.dataset import Dataset, load_pixels, read_dataset
from fc7_models.networks import Network, find_network

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4  # not on biases and batch normalisation
LABEL_SMOOTHING = 0.05
WARM_UP = 0.15  # share of all steps
AVERAGE = 0.999  # decay of the weight average a step
MONITOR = 2000  # validation pictures looked at after each epoch

# Resolution that grows: until this share of the epochs, this share of the network's size.
# Early epochs cost a quarter, and random crops train for larger objects than the
# whole picture shows: 48 pixels of crops serve 64 pixels of picture (Touvron et al. 2019).
GROWTH = ((0.3, 0.5), (0.7, 0.625), (1.0, 0.75))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a training run is to do."""

    network: str
    epochs: int = 16
    batch: int = 128
    learning_rate: float = 0.12
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands; handed to ``report`` every 20 steps and after each epoch."""

    epoch: int  # epochs finished
    step: int
    n_steps: int
    loss: float
    pictures_per_s: float
    top1: float | None = None  # on MONITOR validation pictures, after an epoch


@dataclass(frozen=True, slots=True)
class Facts:
    """What the card says of a training run."""

    plan: Plan
    classes: list[str]
    names: dict[str, str]  # class id -> readable name, where the data has one
    data: str  # name of the folder
    machine: str
    n_pictures: int
    seconds: float
    n_validation: int
    top1: float
    top5: float


@dataclass(frozen=True, slots=True)
class Trained:
    """The averaged network and the facts of its training."""

    module: nn.Module
    facts: Facts

    @property
    def network(self) -> Network:
        """The entry of the table that ``module`` was built from."""
        return find_network(self.facts.plan.network)

    def save(self, path: Path) -> None:
        """Write weights and facts to one file, at once or not at all."""
        part = path.with_suffix(".part")
        torch.save({"weights": self.module.state_dict(), "facts": asdict(self.facts)}, part)
        os.replace(part, path)


def load_trained(path: Path) -> Trained:
    """Read what ``Trained.save`` wrote.

    Raises
    ------
    NotFound
        No such file.
    DataLoss
        Not such a file.
    """
    if not path.is_file():
        raise NotFound(f"file {str(path)!r} does not exist", name=str(path))
    try:
        saved = torch.load(path, weights_only=True)
        facts = Facts(**saved["facts"] | {"plan": Plan(**saved["facts"]["plan"])})
        module = find_network(facts.plan.network).build(len(facts.classes))
        module.load_state_dict(saved["weights"])
    except Exception as error:  # the unpickler's own errors share no base
        raise DataLoss(
            f"{str(path)!r} is not a trained network of fc7, or is damaged: {error}", name=str(path)
        ) from error
    return Trained(module.eval(), facts)


def train(folder: Path, plan: Plan, checkpoints: Path, report: Callable[[Progress], None]) -> Trained:
    """Train ``plan.network`` on the pictures of ``folder``.

    Parameters
    ----------
    folder
        See ``read_dataset``.
    plan
        Network, epochs, batch, peak learning rate, seed.
    checkpoints
        Folder for the decoded pictures, the state after each epoch, the log
        ``log.csv`` and at the end ``trained.pt``. A run that finds its own state
        there goes on from it.
    report
        Called with the progress.

    Raises
    ------
    InvalidArgument, ImageDecodeError
        The pictures cannot be trained on; a damaged one, or a class, is named.
    FailedPrecondition
        The state in ``checkpoints`` belongs to another plan or other pictures.
    DataLoss
        That state is damaged.
    """
    network = find_network(plan.network)
    data, held_out = read_dataset(folder, "train"), read_dataset(folder, "val")
    classes = data.classes
    _check_classes(held_out, classes)
    pixels = load_pixels(data, network.recipe, checkpoints)
    labels = _indices(data.labels, classes)
    val_pixels = load_pixels(held_out, network.recipe, checkpoints)
    val_labels = _indices(held_out.labels, classes)

    torch.manual_seed(plan.seed)
    module = network.build(len(classes)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # untyped
    average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE), use_buffers=True)
    optimizer = torch.optim.SGD(_groups(module), plan.learning_rate, MOMENTUM, nesterov=True)
    state = _State(module, average, optimizer, identity={**asdict(plan), "classes": classes, "pictures": len(labels)})
    path = checkpoints / "state.pt"
    state.load(path)

    batch = min(plan.batch, len(labels))
    per_epoch = len(labels) // batch
    n_steps = per_epoch * plan.epochs
    monitor = np.random.default_rng(0).permutation(len(val_labels))[:MONITOR]
    for epoch in range(state.epoch, plan.epochs):
        start, loss = time.monotonic(), 0.0
        size_px = _size_px(network, epoch / plan.epochs)
        order = torch.from_numpy(np.random.default_rng([plan.seed, epoch]).permutation(len(labels)))
        generator = torch.Generator().manual_seed(plan.seed * 1_000_003 + epoch)
        module.train()
        for i in range(per_epoch):
            step = epoch * per_epoch + i
            for group in optimizer.param_groups:
                group["lr"] = plan.learning_rate * _schedule(step / n_steps)
            rows = order[i * batch : (i + 1) * batch]
            x = _normalise(augment(_batch(pixels, rows.numpy()), size_px, generator), network)
            logits = module(x)["logits"]
            value = nn.functional.cross_entropy(logits, labels[rows], label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            optimizer.step()
            average.update_parameters(module)
            loss = value.item() if i == 0 else 0.98 * loss + 0.02 * value.item()
            if i % 20 == 19:
                speed = (i + 1) * batch / (time.monotonic() - start)
                report(Progress(epoch, step + 1, n_steps, loss, speed))
        state.epoch, state.seconds = epoch + 1, state.seconds + time.monotonic() - start
        state.save(path)
        top1, _ = accuracy(average.module, network, val_pixels[np.sort(monitor)], val_labels[np.sort(monitor)])
        speed = per_epoch * batch / (time.monotonic() - start)
        _log(checkpoints / "log.csv", epoch=epoch + 1, size_px=size_px, loss=loss, top1=top1, pictures_per_s=speed)
        report(Progress(epoch + 1, (epoch + 1) * per_epoch, n_steps, loss, speed, top1))

    final = average.module.eval()
    top1, top5 = accuracy(final, network, val_pixels, val_labels)
    facts = Facts(
        plan=plan,
        classes=classes,
        names={c: data.names[c] for c in classes if c in data.names},
        data=folder.name,
        machine=f"{torch.get_num_threads()} CPU threads",
        n_pictures=len(labels),
        seconds=state.seconds,
        n_validation=len(val_labels),
        top1=top1,
        top5=top5,
    )
    trained = Trained(final, facts)
    trained.save(checkpoints / "trained.pt")
    return trained


@torch.inference_mode()
def accuracy(module: nn.Module, network: Network, pixels: NDArray[np.uint8], labels: Tensor) -> tuple[float, float]:
    """Return top-1 and top-5 accuracy on centre crops; pixels uint8 (N, H, W, 3)."""
    module.eval()
    first = (pixels.shape[1] - network.recipe.crop_px) // 2
    last = first + network.recipe.crop_px
    hits = np.zeros(2)
    for i in range(0, len(labels), 250):
        x = _batch(pixels, np.arange(i, min(i + 250, len(labels))))[:, :, first:last, first:last]
        logits = module(_normalise(x, network))["logits"]
        best = logits.topk(min(5, logits.shape[1])).indices
        right = best == labels[i : i + 250, None]
        hits += right[:, 0].sum().item(), right.any(1).sum().item()
    return float(hits[0] / len(labels)), float(hits[1] / len(labels))


class _State:
    """Everything that a resumed run needs, saved as one file."""

    def __init__(
        self, module: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, identity: dict[str, Any]
    ) -> None:
        self.parts: dict[str, Any] = {"module": module, "average": average, "optimizer": optimizer}
        self.identity = identity
        self.epoch = 0
        self.seconds = 0.0

    def save(self, path: Path) -> None:
        part = path.with_suffix(".part")
        states = {name: value.state_dict() for name, value in self.parts.items()}
        extra = {"identity": self.identity, "epoch": self.epoch, "seconds": self.seconds, "rng": torch.get_rng_state()}
        torch.save(states | extra, part)
        os.replace(part, path)

    def load(self, path: Path) -> None:
        if not path.exists():
            return
        try:
            saved = torch.load(path, weights_only=True)
            identity = saved["identity"]
        except Exception as error:  # the unpickler's own errors share no base
            raise DataLoss(
                f"{str(path)!r} is damaged: delete it, and the training begins anew ({error})", name=str(path)
            ) from error
        if identity != self.identity:
            raise FailedPrecondition(
                f"{str(path)!r} belongs to another plan or other pictures: name another checkpoint folder"
            )
        for name, value in self.parts.items():
            value.load_state_dict(saved[name])
        self.epoch, self.seconds = saved["epoch"], saved["seconds"]
        torch.set_rng_state(saved["rng"])


def _check_classes(held_out: Dataset, classes: list[str]) -> None:
    unknown = sorted(set(held_out.labels) - set(classes))
    if unknown:
        raise InvalidArgument(
            f"class {unknown[0]!r} is among the validation pictures but not among those to train on "
            f"({len(unknown)} such classes): give it training pictures, or take it away",
            name=unknown[0],
        )


def _groups(module: nn.Module) -> list[dict[str, Any]]:
    weights = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    return [{"params": weights, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]


def _schedule(done: float) -> float:
    """Linear warm-up, then a half cosine to zero (Loshchilov & Hutter 2017, equation 5)."""
    if done < WARM_UP:
        return (done + 1e-6) / WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))


def _size_px(network: Network, done: float) -> int:
    share = next(share for until, share in GROWTH if done < until) if network.is_any_size else 1.0
    return round(network.recipe.crop_px * share)


def _indices(labels: tuple[str, ...], classes: list[str]) -> Tensor:
    index = {name: i for i, name in enumerate(classes)}
    return torch.tensor([index[label] for label in labels])


def _batch(pixels: NDArray[np.uint8], rows: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(pixels[rows]).permute(0, 3, 1, 2).float()  # channels last in memory


def _normalise(x: Tensor, network: Network) -> Tensor:
    mean = torch.tensor(network.recipe.mean).view(1, 3, 1, 1)
    std = torch.tensor(network.recipe.std).view(1, 3, 1, 1)
    return ((x * network.recipe.scale - mean) / std).contiguous(memory_format=torch.channels_last)


def _log(path: Path, **row: float) -> None:
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row)
        if is_new:
            writer.writeheader()
        writer.writerow(row)
