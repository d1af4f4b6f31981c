"""The optimizers of a recipe, and the limit that one paper sets to its filters."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fc7_models.training.muon import Muon
from fc7_models.training.recipes import TrainingRecipe

MOMENTUM = 0.9  # Krizhevsky et al. 2012, section 5; Zeiler & Fergus 2013, section 3
WEIGHT_DECAY = 5e-4  # Krizhevsky et al. 2012, section 5; not on biases and batch normalisation


def make_optimizers(module: nn.Module, recipe: TrainingRecipe, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Return SGD and, if the recipe and the network call for it, Muon for the normalised filters.

    The 2012 paper multiplies the gradient inside the velocity by the learning rate; torch multiplies the velocity.
    The two differ only in the few steps after the learning rate changes.

    Parameters
    ----------
    module
        The network to train.
    recipe
        It sets the kind of momentum and the learning rate of Muon.
    learning_rate
        The highest one of SGD. Muon's own is scaled in the same proportion.
    """
    filters = _normalised_filters(module) if recipe.muon_learning_rate else []
    muon_ids = {id(p) for p in filters}
    others = [p for p in module.parameters() if p.requires_grad and id(p) not in muon_ids]
    groups = [
        {"params": [p for p in others if p.ndim > 1], "weight_decay": WEIGHT_DECAY, "initial_lr": learning_rate},
        {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0, "initial_lr": learning_rate},
    ]
    sgd = torch.optim.SGD(groups, learning_rate, MOMENTUM, nesterov=recipe.is_nesterov)
    if not (filters and recipe.muon_learning_rate):
        return [sgd]
    muon_rate = recipe.muon_learning_rate * learning_rate / recipe.learning_rate
    return [sgd, Muon([{"params": filters, "initial_lr": muon_rate}], muon_rate, MOMENTUM)]


@torch.no_grad()
def limit_filter_rms(module: nn.Module, max_rms: float) -> None:
    """Scale every convolution filter whose root mean square exceeds ``max_rms`` down to it, in place.

    References
    ----------
    Zeiler & Fergus 2013, section 3.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            rms = part.weight.square().mean((1, 2, 3), keepdim=True).sqrt()
            part.weight.mul_((max_rms / rms.clamp(min=1e-12)).clamp(max=1))


def _normalised_filters(module: nn.Module) -> list[nn.Parameter]:
    """Return the weights of the convolutions that share a block with batch normalisation."""
    blocks = [list(part) for part in module.modules() if isinstance(part, nn.Sequential)]
    normalised = [block for block in blocks if any(isinstance(part, _BatchNorm) for part in block)]
    return [p for block in normalised for part in block if isinstance(part, nn.Conv2d) for p in part.parameters()]
