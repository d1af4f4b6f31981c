"""What each part of a network is worth: layers removed and resized, techniques left out, each trained anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fc7.errors import InvalidArgument
from fc7_models.data.training_set import TrainingSet, read_training_set
from fc7_models.networks import NETWORKS, Network, find_network
from fc7_models.networks.layers import LocalResponseNorm
from fc7_models.training.loop import MONITOR, Progress, run
from fc7_models.training.process_group import alone
from fc7_models.training.recipes import TrainingRecipe, find_recipe
from fc7_models.training.trained_network import Plan, Trained
from fc7_models.training.trainer import Job, accuracy

Table = Literal["layers", "techniques"]
Edit = Callable[[Any], None]  # changes a module in place


@dataclass(frozen=True, slots=True)
class Variant:
    """A base network with one thing changed."""

    table: Table
    name: str
    widths: dict[str, Any] = field(default_factory=dict)  # arguments of the base network's constructor
    edits: Sequence[Edit] = ()
    augmented: bool = True

    def network(self, base: Network) -> Network:
        """Return the changed network."""

        def build(n_classes: int) -> nn.Module:
            module = base.build(n_classes, **self.widths)
            for edit in self.edits:
                edit(module)
            return module

        return replace(base, build=build)

    def recipe(self, base: TrainingRecipe) -> TrainingRecipe:
        """Return the recipe, without augmentation where the variant does without."""
        if self.augmented:
            return base
        return replace(base, views="whole", growth=((1.0, 1.0),), colour_noise=0.0)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a variant; accuracies are of one view."""

    table: Table
    variant: str
    parameters: int
    train_top1: float  # on 2,000 pictures that it was trained on
    top1: float
    top5: float
    seconds: float


def ablate(folder: Path, plan: Plan, output: Path, report: Callable[[int, int], None]) -> list[Result]:
    """Train every variant of a network by the same plan.

    Parameters
    ----------
    folder
        See ``read_dataset``.
    plan
        Of the network as it is.
    output
        Folder for the decoded pictures and a folder of checkpoints a variant, from which a
        study that was cut off goes on.
    report
        Called with steps done and steps in all.

    Returns
    -------
    list of Result
        Of both tables, each beginning with the network as it is.

    Raises
    ------
    InvalidArgument, NotFound, ImageDecodeError, FailedPrecondition, DataLoss
        As ``train``; or the network is not one of five convolutions and three further layers.

    References
    ----------
    Zeiler & Fergus 2013, table 3; Krizhevsky et al. 2012, sections 3.3 to 4.2.
    """
    base = find_network(plan.network)
    variants = [*layer_variants(base, plan.network), *technique_variants()]
    pictures = read_training_set([folder], base.recipe, output)
    results: list[Result] = []
    for i, variant in enumerate(variants):

        def share(state: Progress, i: int = i) -> None:
            report(i * state.n_steps + state.step, len(variants) * state.n_steps)

        results.append(_result(variant, _train(variant, base, plan, pictures, output, share), base, pictures))
    first = next(i for i, result in enumerate(results) if result.table == "techniques")
    return [*results[:first], replace(results[0], table="techniques"), *results[first:]]


def layer_variants(base: Network, name: str) -> list[Variant]:
    """Return rows after table 3 of 2013, in this network's own widths.

    Two things differ from the table. Its larger layers 3, 4, 5 have 512, 1024, 512 maps in place of 384, 384, 256;
    here each has twice its own. Its row that also enlarges layers 6, 7 is left out.

    Raises
    ------
    InvalidArgument
        The network has other layers than the papers'.
    """
    with torch.device("meta"):
        module: Any = base.build(2)
    if not {"conv3", "conv4", "fc6", "fc7"} <= {part for part, _ in module.named_children()}:
        fitting = [other for other in NETWORKS if other.startswith(("alexnet", "zfnet"))]
        raise InvalidArgument(
            f"network {name!r} has not the papers' layers 3, 4, 6 and 7: take one of {', '.join(fitting)}", name=name
        )
    m1, m2, m3, m4, m5 = (part.out_channels for part in module.modules() if isinstance(part, nn.Conv2d))
    units, inputs = module.fc6.out_features, module.fc6.in_features
    thin = {"maps": (m1, m2, m2, m2, m5)}  # what conv2 gives passes to conv5
    convolutions, hidden = _remove("conv3", "conv4"), _remove("fc6", "norm6", "fc7", "norm7")
    return [
        Variant("layers", "as it is"),
        Variant("layers", "without layers 3, 4", thin, [convolutions]),
        Variant("layers", "without layer 7", edits=[_remove("fc7", "norm7"), _drop_once]),
        Variant("layers", "without layers 6, 7", {"units": inputs}, [hidden, _keep_all]),
        Variant("layers", "without layers 3, 4, 6, 7", thin | {"units": inputs}, [convolutions, hidden, _keep_all]),
        Variant("layers", "layers 6, 7: half the units", {"units": units // 2}),
        Variant("layers", "layers 6, 7: twice the units", {"units": 2 * units}),
        Variant("layers", "layers 3, 4, 5: twice the maps", {"maps": (m1, m2, 2 * m3, 2 * m4, 2 * m5)}),
    ]


def technique_variants() -> list[Variant]:
    """Return what sections 3.3 to 4.2 of 2012 add, one at a time left out."""
    return [
        Variant("techniques", "without normalisation", edits=[_drop_norm]),
        Variant("techniques", "without overlap in pooling", edits=[_part_pools]),
        Variant("techniques", "without dropout", edits=[_keep_all]),
        Variant("techniques", "without data augmentation", augmented=False),
    ]


def _train(
    variant: Variant, base: Network, plan: Plan, pictures: TrainingSet, output: Path, report: Callable[[Progress], None]
) -> Trained:
    name = f"{plan.network} {variant.name}"
    job = Job(replace(plan, network=name), variant.network(base), variant.recipe(find_recipe(plan.recipe)))
    checkpoints = output / "-".join(name.replace(",", "").replace(":", "").split())
    checkpoints.mkdir(exist_ok=True)
    return run(job, pictures, checkpoints, report, alone(), keeps=lambda epoch: False)  # no table has these networks


def _result(variant: Variant, trained: Trained, base: Network, pictures: TrainingSet) -> Result:
    rows = np.sort(np.random.default_rng(0).permutation(len(pictures))[:MONITOR])
    facts, ((_, pixels),) = trained.facts, pictures.gather(rows)  # of the one folder
    return Result(
        table=variant.table,
        variant=variant.name,
        parameters=sum(parameter.numel() for parameter in trained.module.parameters()),
        train_top1=accuracy(trained.module, base, pixels, pictures.labels[rows])[0],
        top1=facts.top1,
        top5=facts.top5,
        seconds=facts.seconds,
    )


def _remove(*names: str) -> Edit:
    def edit(module: Any) -> None:
        for name in names:
            setattr(module, name, nn.Identity())

    return edit


def _drop_once(module: Any) -> None:
    """Dropout before and after a layer that is gone is one dropout: together they keep as many as one did."""
    module.dropout = nn.Dropout(1 - (1 - module.dropout.p) ** 0.5)


def _keep_all(module: Any) -> None:
    module.dropout = nn.Identity()


def _drop_norm(module: Any) -> None:
    for part in list(module.modules()):
        for name, child in part.named_children():
            if isinstance(child, LocalResponseNorm | _BatchNorm):
                setattr(part, name, nn.Identity())
        if isinstance(part, nn.Conv2d) and part.bias is None:
            part.bias = nn.Parameter(torch.zeros(part.out_channels))


def _part_pools(module: Any) -> None:
    """Pool 2 x 2 pixels at stride 2, which gives maps of the same size as 3 x 3 at stride 2."""
    for part in list(module.modules()):
        for name, child in part.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(part, name, nn.MaxPool2d(2))
