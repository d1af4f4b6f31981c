"""What a training was to do, what became of it, and the file that keeps both with the weights."""

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
from fc7_models.training.recipes import LOWER_RATE, RECIPES, find_recipe

_MODERN = RECIPES["modern"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a training run is to do."""

    network: str
    epochs: int = _MODERN.epochs
    batch: int = _MODERN.batch  # pictures a step, of each process
    learning_rate: float = _MODERN.learning_rate
    seed: int = 0
    recipe: str = "modern"
    has_heads: bool = False  # a softmax a folder over shared layers, in place of one class list

    def peak_rate(self, n_pictures: int) -> float:
        """Return the highest learning rate; `modern`'s falls in proportion where all pictures are less than a batch.

        References
        ----------
        Goyal et al. 2017, section 2.1.
        """
        is_scaled = find_recipe(self.recipe).schedule == "cosine"
        return self.learning_rate * (min(1.0, n_pictures / self.batch) if is_scaled else 1.0)


def make_plan(
    network: str,
    *,
    recipe: str = "modern",
    epochs: int | None = None,
    has_heads: bool = False,
    has_start: bool = False,
) -> Plan:
    """Return the plan of a recipe, with its batch, its learning rate and, for None, its epochs.

    A run that begins with weights has a lower rate: it is to keep what they know.

    Raises
    ------
    NotFound
        No such network or recipe.
    """
    find_network(network)
    known = find_recipe(recipe)
    rate = known.learning_rate * (LOWER_RATE if has_start else 1)
    return Plan(network, epochs or known.epochs, known.batch, rate, recipe=recipe, has_heads=has_heads)


@dataclass(frozen=True, slots=True)
class Run:
    """A finished training that another one began with, or a bundle."""

    data: str
    recipe: str
    epochs: int  # 0: a bundle, named by ``data``, of whose training nothing more is known
    n_pictures: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Facts:
    """What the card says of a training run."""

    plan: Plan
    classes: list[str]
    names: dict[str, str]  # class id -> readable name, where the data has one
    data: str  # names of the folders
    machine: str
    n_pictures: int
    seconds: float
    n_validation: int
    top1: float
    top5: float
    epochs: int | None = None  # passes made; None: all of the plan's
    n_near: int = 0  # pictures left out because a validation picture is nearly the same
    near: list[str] = field(default_factory=list)  # their names, see ``picture_name``; files of before have none
    earlier: list[Run] = field(default_factory=list)  # whose weights this run began with, oldest first

    def as_run(self) -> Run:
        """Return this run in the form in which a later one keeps it."""
        return Run(self.data, self.plan.recipe, self.epochs or self.plan.epochs, self.n_pictures, self.seconds)


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
        save_file({"weights": self.module.state_dict(), "facts": asdict(self.facts)}, path)


def load_trained(path: Path) -> Trained:
    """Read what ``Trained.save`` wrote: ``trained.pt`` or ``epoch-N.pt`` of a run.

    Raises
    ------
    NotFound
        No such file.
    InvalidArgument
        It is the ``state.pt`` of a run.
    DataLoss
        Not such a file.
    """
    if not path.is_file():
        raise NotFound(f"file {str(path)!r} does not exist", name=str(path))
    try:
        saved = torch.load(path, weights_only=True)
        if "identity" in saved:
            raise InvalidArgument(
                f"{str(path)!r} is the state that a training goes on from, not a trained network: give the trained.pt "
                "or an epoch-N.pt beside it",
                name=str(path),
            )
        facts = _facts(saved["facts"])
        module = find_network(facts.plan.network).build(len(facts.classes))
        module.load_state_dict(complete(saved["weights"], module))
    except InvalidArgument:
        raise
    except Exception as error:  # the unpickler's own errors share no base
        raise DataLoss(
            f"{str(path)!r} is not a trained network of fc7, or is damaged: {error}", name=str(path)
        ) from error
    return Trained(module.eval(), facts)


def complete(weights: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Return weights with what batch normalisation misses in them: such that it adds its bias and does nothing else.

    Files of before fc6 and fc7 were normalised have none for these; see ``settle`` for training on.
    """
    weights = dict(weights)
    for name, part in module.named_modules():
        if isinstance(part, _BatchNorm):
            nothing = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1 - part.eps}
            for kind, value in nothing.items():
                weights.setdefault(f"{name}.{kind}", torch.full_like(part.bias, value))
            weights.setdefault(f"{name}.num_batches_tracked", torch.tensor(0))
    for layer, _ in batch_normed_layers(module):
        weights.setdefault(f"{layer}.bias", torch.zeros_like(getattr(module, layer).bias))
    return weights


def save_file(value: dict[str, Any], path: Path) -> None:
    """Write a file of torch at once or not at all, also where the power fails."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        torch.save(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def _facts(saved: dict[str, Any]) -> Facts:
    numbers = {name: float(saved[name]) for name in ("seconds", "top1", "top5")}
    numbers |= {name: int(saved[name]) for name in ("n_pictures", "n_validation")}
    lists = {"near": list(map(str, saved.get("near", []))), "earlier": [Run(**run) for run in saved.get("earlier", [])]}
    return Facts(**saved | numbers | lists | {"plan": Plan(**saved["plan"])})
