"""The table of networks: a network is one file in this folder and one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import nn

from fc7.errors import NotFound
from fc7_models.networks.alexnet import AlexNet, AlexNet64
from fc7_models.networks.lenet import LeNet5
from fc7_models.networks.zfnet import ZFNet, ZFNet64
from fc7_service.bundle.recipe import IMAGENET_MEAN, IMAGENET_STD, Recipe


@dataclass(frozen=True, slots=True)
class Network:
    """How to build a network and what it wants to see."""

    build: Callable[..., nn.Module]  # number of classes -> module; `maps` and `units` are the papers' by default
    recipe: Recipe
    is_any_size: bool  # accepts inputs of other sizes than the recipe's


# 2012 and 2013: raw RGB values minus the mean, no division by a deviation (K12 section 2).
_PAPER = Recipe(
    resize_px=256,
    crop_px=224,
    scale=1.0,
    mean=tuple(255 * m for m in IMAGENET_MEAN),  # type: ignore[arg-type]  # three numbers stay three
    std=(1.0, 1.0, 1.0),
)
# Resized to 68, since the blocks of a JPEG of 64 pixels lie on the networks' own grid, and crops had shown larger
# objects in training: of 2,000 pictures of Tiny-ImageNet `alexnet-64` has 50 % right so, 43 % as they are.
_SMALL = Recipe(resize_px=68, crop_px=64, scale=1 / 255, mean=IMAGENET_MEAN, std=IMAGENET_STD)

NETWORKS: dict[str, Network] = {
    "alexnet": Network(AlexNet, _PAPER.with_crop(227), is_any_size=False),
    "alexnet-64": Network(AlexNet64, _SMALL, is_any_size=True),
    "lenet-5": Network(LeNet5, replace(_SMALL, resize_px=32, crop_px=32), is_any_size=False),
    "zfnet": Network(ZFNet, _PAPER, is_any_size=False),
    "zfnet-64": Network(ZFNet64, _SMALL, is_any_size=True),
}


def find_network(name: str) -> Network:
    """Return the table's entry of ``name``.

    Raises
    ------
    NotFound
        No network has that name; the message lists those that exist.
    """
    if name not in NETWORKS:
        raise NotFound(f"network {name!r} does not exist: choose one of {', '.join(NETWORKS)}")
    return NETWORKS[name]
