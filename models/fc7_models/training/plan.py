"""The plan of a training run: the network, the recipe, and the numbers that a run may set itself."""

from __future__ import annotations

from dataclasses import dataclass

from fc7_models.networks import find_network
from fc7_models.training.recipes import FINE_TUNING_FACTOR, RECIPES, find_recipe

_MODERN = RECIPES["modern"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a training run is to do."""

    network: str
    epochs: int = _MODERN.epochs
    batch: int = _MODERN.batch  # views per step and process
    learning_rate: float = _MODERN.learning_rate
    seed: int = 0
    recipe: str = "modern"
    has_heads: bool = False  # one softmax per folder over shared layers, instead of one list of classes

    def peak_rate(self, n_pictures: int) -> float:
        """Return the highest learning rate for ``n_pictures``.

        With a cosine schedule it falls in proportion if all pictures together are less than a batch.

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
    """Return a plan with the batch and the learning rate of a recipe.

    Parameters
    ----------
    network, recipe
        Their names.
    epochs
        Passes over the pictures; None takes the recipe's.
    has_heads
        See ``Plan``.
    has_start
        The run begins with trained weights. Its learning rate is a third, so that it keeps what they know.

    Raises
    ------
    NotFound
        No such network or recipe.
    """
    find_network(network)
    chosen = find_recipe(recipe)
    rate = chosen.learning_rate * (FINE_TUNING_FACTOR if has_start else 1)
    return Plan(network, epochs or chosen.epochs, chosen.batch, rate, recipe=recipe, has_heads=has_heads)
