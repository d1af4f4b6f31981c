"""How to train, by name: as the papers did it and as one would today. A recipe is one entry of a table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fc7.errors import NotFound
from fc7_models.networks import Network
from fc7_models.training.muon import Muon

MOMENTUM = 0.9  # K12 section 5, ZF section 3
WEIGHT_DECAY = 5e-4  # K12 section 5; ZF names none. Not on biases and batch normalisation
WARM_UP = 0.05  # share of all steps
WARM_UP_STEPS = 200  # at least, but no more than half of all
GROWN = 0.6  # share of the steps whose small crops are for networks that know nothing yet
LOWER_RATE = 1 / 3  # of the recipe's, for a run that begins with weights
PATIENCE = 3  # epochs without a smaller error that end a learning rate; by hand in both papers
DROPS = 3  # "reduced three times prior to termination" (K12 section 5)

Views = Literal["affine", "distorted", "crops", "ten crops", "whole"]  # see ``fc7_models.training.augmentation``
Growth = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class TrainingRecipe:
    """Everything of a training that is not a number of its plan."""

    epochs: int
    batch: int  # pictures a step, of each process
    learning_rate: float  # the highest
    is_nesterov: bool
    schedule: Literal["cosine", "plateau"]
    label_smoothing: float
    average: float  # highest decay of the running average of the weights, a step; 0 takes the weights themselves
    growth: Growth  # until this share of the steps, crops of this share of the network's size, if it takes any
    views: Views
    colour_noise: float = 0.0  # deviation of the shifts along the principal colours
    max_filter_rms: float | None = None  # convolution filters above it are scaled down to it after each step
    filter_step: float | None = None  # of ``Muon`` beside that learning rate, for filters that normalisation follows
    source_px: int | None = None  # pictures are kept at their own size up to this one; None: at the network's
    n_views: int = 1  # of each picture in a batch
    likeness: float = 0.0  # weight of the loss that tells the views of a picture from those of the others

    def size_px(self, network: Network, done: float, *, has_start: bool = False) -> int:
        """Return the side of the views of ``network`` when this share of the steps is done.

        A run that begins with weights passes over the small crops of the first ``GROWN``.
        """
        crop_px = network.recipe.crop_px
        if not network.is_any_size:
            return crop_px
        if has_start:
            done = GROWN + (1 - GROWN) * done
        return round(crop_px * next(share for until, share in self.growth if done < until))


RECIPES = {
    # Early epochs cost a quarter, and random crops train for larger objects than the whole
    # picture shows: 48 and 56 pixels of crops serve 64 pixels of picture (Touvron et al. 2019).
    "modern": TrainingRecipe(
        epochs=50,
        batch=256,
        learning_rate=0.17,
        is_nesterov=True,
        schedule="cosine",
        label_smoothing=0.05,
        average=0.998,
        growth=((0.3, 0.5), (0.65, 0.625), (0.9, 0.75), (1.0, 0.875)),
        views="affine",
        filter_step=0.03,
    ),
    # Views as pictures get about; two of each, which also have to find each other (Berman et al. 2019).
    "robust": TrainingRecipe(
        epochs=50,
        batch=256,
        learning_rate=0.17,
        is_nesterov=True,
        schedule="cosine",
        label_smoothing=0.0,
        average=0.998,
        growth=((0.3, 0.5), (0.6, 0.75), (0.85, 1.0), (1.0, 1.5)),
        views="distorted",
        filter_step=0.03,
        source_px=128,
        n_views=2,
        likeness=0.5,
    ),
    # Krizhevsky, Sutskever & Hinton 2012, sections 4.1 and 5: crops of 224 of 256, roughly 90 cycles.
    "krizhevsky2012": TrainingRecipe(
        epochs=90,
        batch=128,
        learning_rate=0.01,
        is_nesterov=False,
        schedule="plateau",
        label_smoothing=0.0,
        average=0.0,
        growth=((1.0, 224 / 256),),
        views="crops",
        colour_noise=0.1,
    ),
    # Zeiler & Fergus 2013, section 3: corners and centre, mirrored; 70 epochs; filters of RMS 0.1 at most.
    "zeiler2013": TrainingRecipe(
        epochs=70,
        batch=128,
        learning_rate=0.01,
        is_nesterov=False,
        schedule="plateau",
        label_smoothing=0.0,
        average=0.0,
        growth=((1.0, 224 / 256),),
        views="ten crops",
        max_filter_rms=0.1,
    ),
}


def find_recipe(name: str) -> TrainingRecipe:
    """Return the table's entry of ``name``.

    Raises
    ------
    NotFound
        No recipe has that name; the message lists those that exist.
    """
    if name not in RECIPES:
        raise NotFound(f"recipe {name!r} does not exist: choose one of {', '.join(RECIPES)}", name=name)
    return RECIPES[name]


def make_optimizers(module: nn.Module, recipe: TrainingRecipe, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Return SGD and, where the recipe has a step for filters and the network such filters, Muon for these.

    The paper of 2012 has the learning rate inside the velocity, torch outside; the two differ
    in the few steps after a new learning rate.
    """
    filters = _normalised_filters(module) if recipe.filter_step else []
    apart = {id(p) for p in filters}
    rest = [p for p in module.parameters() if p.requires_grad and id(p) not in apart]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": WEIGHT_DECAY, "initial_lr": learning_rate},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0, "initial_lr": learning_rate},
    ]
    sgd = torch.optim.SGD(groups, learning_rate, MOMENTUM, nesterov=recipe.is_nesterov)
    if not (filters and recipe.filter_step):
        return [sgd]
    step = recipe.filter_step * learning_rate / recipe.learning_rate
    return [sgd, Muon([{"params": filters, "initial_lr": step}], step, MOMENTUM)]


def _normalised_filters(module: nn.Module) -> list[nn.Parameter]:
    blocks = [list(part) for part in module.modules() if isinstance(part, nn.Sequential)]
    normed = [block for block in blocks if any(isinstance(part, _BatchNorm) for part in block)]
    return [p for block in normed for part in block if isinstance(part, nn.Conv2d) for p in part.parameters()]


def cosine(step: int, n_steps: int) -> float:
    """Return the share of the learning rate at ``step`` of ``n_steps``: warm-up, then a half cosine to zero.

    References
    ----------
    Loshchilov & Hutter 2017, equation 5.
    """
    n_warm = max(WARM_UP * n_steps, min(WARM_UP_STEPS, n_steps / 2))
    if step < n_warm:
        return (step + 1e-6 * n_steps) / n_warm
    return 0.5 + 0.5 * math.cos(math.pi * (step - n_warm) / (n_steps - n_warm))


class Plateau:
    """Divide the learning rate by ten where the held-out error has stopped falling, ``DROPS`` times at most."""

    def __init__(self) -> None:
        self.best, self.n_stale, self.n_drops = math.inf, 0, 0

    @property
    def share(self) -> float:
        """The share of the learning rate that is left."""
        return float(10.0**-self.n_drops)

    def see(self, error: float) -> None:
        """Take the error after an epoch."""
        self.n_stale = 0 if error < self.best else self.n_stale + 1
        self.best = min(self.best, error)
        if self.n_stale == PATIENCE and self.n_drops < DROPS:
            self.n_stale, self.n_drops = 0, self.n_drops + 1

    def state_dict(self) -> dict[str, float]:
        """Return what ``load_state_dict`` takes."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from ``state``."""
        vars(self).update(state)


@torch.no_grad()
def limit_filters(module: nn.Module, rms: float) -> None:
    """Scale every convolution filter whose root mean square exceeds ``rms`` down to it, in place.

    References
    ----------
    Zeiler & Fergus 2013, section 3.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            found = part.weight.square().mean((1, 2, 3), keepdim=True).sqrt()
            part.weight.mul_((rms / found.clamp(min=1e-12)).clamp(max=1))
