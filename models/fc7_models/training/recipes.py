"""Training recipes by name: two from the papers, two modern ones. A recipe is one entry of a table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from fc7.errors import NotFound
from fc7_models.networks import Network

SMALL_CROPS_SHARE = 0.6  # of the steps: their small crops only help networks that know nothing yet
FINE_TUNING_FACTOR = 1 / 3  # of the recipe's learning rate, for a run that begins with trained weights

Views = Literal["affine", "distorted", "crops", "ten crops", "whole"]  # see `fc7_models.training.augmentation`
CropGrowth = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class TrainingRecipe:
    """All settings of a training run that its plan does not set. The defaults are what both papers did."""

    epochs: int
    views: Views
    batch: int = 128  # views per step and process
    learning_rate: float = 0.01  # the highest one
    is_nesterov: bool = False
    schedule: Literal["cosine", "plateau"] = "plateau"
    label_smoothing: float = 0.0
    ema_decay: float = 0.0  # of the running average of the weights, per step; 0 uses the weights themselves
    crop_growth: CropGrowth = ((1.0, 224 / 256),)  # (until this share of the steps, crop side / network's side)
    colour_shift: float = 0.0  # standard deviation of the shifts along the principal colours
    max_filter_rms: float | None = None  # convolution filters above it are scaled down to it after each step
    muon_learning_rate: float | None = None  # for the filters that batch normalisation follows; None: SGD for all
    source_px: int | None = None  # pictures are kept at their own size, up to this; None: at the network's size
    n_views: int = 1  # of each picture in a batch
    contrastive_weight: float = 0.0  # of the loss that matches the views of one picture

    def crop_px_at(self, network: Network, done: float, *, has_start: bool = False) -> int:
        """Return the side of the crops when the share ``done`` of all steps is over.

        Parameters
        ----------
        network
            Its input size is the unit; a network with one fixed size always gets that size.
        done
            From 0 to 1.
        has_start
            The run began with trained weights, so it skips the small crops of the first 60 %.
        """
        crop_px = network.recipe.crop_px
        if not network.is_any_size:
            return crop_px
        if has_start:
            done = SMALL_CROPS_SHARE + (1 - SMALL_CROPS_SHARE) * done
        return round(crop_px * next(share for until, share in self.crop_growth if done < until))


# Early epochs on small crops cost a quarter. Random crops show larger objects than the whole picture does,
# so crops of 48 and 56 pixels prepare a network for pictures of 64 (Touvron et al. 2019).
_MODERN = TrainingRecipe(
    epochs=50,
    views="affine",
    batch=256,
    learning_rate=0.17,
    is_nesterov=True,
    schedule="cosine",
    label_smoothing=0.05,
    ema_decay=0.998,
    crop_growth=((0.3, 0.5), (0.65, 0.625), (0.9, 0.75), (1.0, 0.875)),
    muon_learning_rate=0.03,
)

RECIPES = {
    "modern": _MODERN,
    # Pictures altered as copies usually are, two views of each, which must also find each other (Berman et al. 2019).
    "robust": replace(
        _MODERN,
        views="distorted",
        label_smoothing=0.0,
        crop_growth=((0.3, 0.5), (0.6, 0.75), (0.85, 1.0), (1.0, 1.5)),
        source_px=128,
        n_views=2,
        contrastive_weight=0.5,
    ),
    # Krizhevsky, Sutskever & Hinton 2012, sections 4.1 and 5: crops of 224 from 256 pixels, about 90 epochs.
    "krizhevsky2012": TrainingRecipe(epochs=90, views="crops", colour_shift=0.1),
    # Zeiler & Fergus 2013, section 3: corners and centre, mirrored; 70 epochs; filters of at most RMS 0.1.
    "zeiler2013": TrainingRecipe(epochs=70, views="ten crops", max_filter_rms=0.1),
}


def find_recipe(name: str) -> TrainingRecipe:
    """Return the recipe called ``name``.

    Raises
    ------
    NotFound
        No recipe has that name; the message lists those that exist.
    """
    if name not in RECIPES:
        raise NotFound(f"recipe {name!r} does not exist. Choose one of {', '.join(RECIPES)}", name=name)
    return RECIPES[name]
