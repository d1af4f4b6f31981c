"""A trained network with the record of its training, and the file that keeps both."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fc7.errors import DataLoss, InvalidArgument, NotFound
from fc7_models.networks import Network, find_network
from fc7_models.networks.layers import batch_normed_layers
from fc7_models.training.plan import Plan


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """A finished run, or a bundle, whose weights a later run began with."""

    data: str
    recipe: str
    epochs: int  # 0: a bundle, named by `data`; nothing else is known of its training
    n_pictures: int
    seconds: float


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """Who made a network from what, and how well it does; the model card is written from it."""

    plan: Plan
    classes: list[str]
    names: dict[str, str]  # class id -> readable name, where the data has one
    data: str  # names of the folders
    machine: str  # its devices, in words
    n_pictures: int
    seconds: float
    n_validation: int
    top1: float
    top5: float
    epochs: int | None = None  # passes made; None: all of the plan's
    n_near: int = 0  # pictures left out because a validation picture is nearly the same
    near: list[str] = field(default_factory=list)  # their names, see `name_in_folder`; older files have none
    teacher: str = ""  # name of the bundle whose answers it learnt to predict; empty: none
    earlier: list[EarlierRun] = field(default_factory=list)  # whose weights this run began with, oldest first

    def as_earlier_run(self) -> EarlierRun:
        """Return what a later run records of this one."""
        return EarlierRun(self.data, self.plan.recipe, self.epochs or self.plan.epochs, self.n_pictures, self.seconds)


@dataclass(frozen=True, slots=True)
class TrainedNetwork:
    """A network with averaged weights, and the record of its training."""

    module: nn.Module
    record: TrainingRecord

    @property
    def network(self) -> Network:
        """The table entry that ``module`` was built from."""
        return find_network(self.record.plan.network)

    def save(self, path: Path) -> None:
        """Write weights and record to one file; a crash leaves the old file or the new one."""
        save_torch_file({"weights": self.module.state_dict(), "facts": asdict(self.record)}, path)


def load_trained(path: Path) -> TrainedNetwork:
    """Read a file that ``TrainedNetwork.save`` wrote: ``trained.pt`` or ``epoch-N.pt`` of a run.

    Raises
    ------
    NotFound
        No such file.
    InvalidArgument
        It is the ``state.pt`` of a run.
    DataLoss
        It is damaged, or no such file.
    """
    if not path.is_file():
        raise NotFound(f"file {str(path)!r} does not exist", name=str(path))
    try:
        saved = torch.load(path, weights_only=True)
        if "identity" in saved:
            raise InvalidArgument(
                f"{str(path)!r} is the checkpoint of an unfinished run, not a trained network. "
                "Name the trained.pt or an epoch-N.pt beside it",
                name=str(path),
            )
        record = _read_record(saved["facts"])
        module = find_network(record.plan.network).build(len(record.classes))
        module.load_state_dict(fill_batch_norm(saved["weights"], module))
    except InvalidArgument:
        raise
    except Exception as error:  # the unpickler's own errors share no base
        raise DataLoss(
            f"{str(path)!r} is damaged, or is not a trained network of fc7 ({error})", name=str(path)
        ) from error
    return TrainedNetwork(module.eval(), record)


def fill_batch_norm(weights: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Return ``weights`` with the values of batch normalisation that they lack.

    The added normalisation changes nothing, except that its bias takes over that of the layer before. Files from
    before fc6 and fc7 were normalised lack these values. To train such a network on, see ``calibrate_batch_norm``.
    """
    weights = dict(weights)
    for name, part in module.named_modules():
        if isinstance(part, _BatchNorm):
            neutral = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1 - part.eps}
            for kind, value in neutral.items():
                weights.setdefault(f"{name}.{kind}", torch.full_like(part.bias, value))
            weights.setdefault(f"{name}.num_batches_tracked", torch.tensor(0))
    for layer, _ in batch_normed_layers(module):
        weights.setdefault(f"{layer}.bias", torch.zeros_like(getattr(module, layer).bias))
    return weights


def save_torch_file(value: dict[str, Any], path: Path) -> None:
    """Write a file of torch; after a crash or a power cut the old file or the new one is there, whole."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        torch.save(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def _read_record(saved: dict[str, Any]) -> TrainingRecord:
    numbers: dict[str, Any] = {name: float(saved[name]) for name in ("seconds", "top1", "top5")}
    numbers |= {name: int(saved[name]) for name in ("n_pictures", "n_validation")}
    near = [str(name) for name in saved.get("near", [])]
    earlier = [EarlierRun(**run) for run in saved.get("earlier", [])]
    return TrainingRecord(**saved | numbers | {"plan": Plan(**saved["plan"]), "near": near, "earlier": earlier})
