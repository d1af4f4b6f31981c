"""The networks that fc7 trains. To add one, write its file in this folder and add a line to ``NETWORKS``."""

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
    """How to build a network, and how its pictures are prepared."""

    build: Callable[..., nn.Module]  # number of classes -> module; most also take `maps` and `units`
    recipe: Recipe
    is_any_size: bool  # also takes pictures of other sizes than the recipe's


# 2012 and 2013: RGB values minus the mean, not divided by a deviation (Krizhevsky et al. 2012, section 2).
_PAPER = Recipe(
    resize_px=256,
    crop_px=224,
    scale=1.0,
    mean=tuple(255 * m for m in IMAGENET_MEAN),  # type: ignore[arg-type]  # three numbers stay three
    std=(1.0, 1.0, 1.0),
)
# Resized to 68 pixels for two reasons: the blocks of a 64-pixel JPEG would lie on the networks' own grid, and crops
# showed larger objects in training. On 2,000 pictures of Tiny-ImageNet, `alexnet-64` reaches 50 % this way and 43 %
# without resizing.
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
        No network has that name. The message lists the names.
    """
    if name not in NETWORKS:
        raise NotFound(f"network {name!r} does not exist. Choose one of {', '.join(NETWORKS)}")
    return NETWORKS[name]
