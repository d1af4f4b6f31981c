"""Ablation: what each layer and technique is worth, by training variants of a network without it."""

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
from fc7_models.training.loop import MONITOR_PICTURES, Progress, run_epochs
from fc7_models.training.plan import Plan
from fc7_models.training.process_group import single_process
from fc7_models.training.recipes import TrainingRecipe, find_recipe
from fc7_models.training.trained_network import TrainedNetwork
from fc7_models.training.trainer import TrainingSetup, measure_accuracy

Table = Literal["layers", "techniques"]
Edit = Callable[[Any], None]  # changes a module in place


@dataclass(frozen=True, slots=True)
class Variant:
    """The base network with one thing changed."""

    table: Table
    name: str
    widths: dict[str, Any] = field(default_factory=dict)  # arguments of the base network's `build`
    edits: Sequence[Edit] = ()
    has_augmentation: bool = True

    def network(self, base: Network) -> Network:
        """Return the changed network."""

        def build(n_classes: int) -> nn.Module:
            module = base.build(n_classes, **self.widths)
            for edit in self.edits:
                edit(module)
            return module

        return replace(base, build=build)

    def recipe(self, base: TrainingRecipe) -> TrainingRecipe:
        """Return the recipe, without augmentation if the variant has none."""
        if self.has_augmentation:
            return base
        return replace(base, views="whole", crop_growth=((1.0, 1.0),), colour_shift=0.0)


@dataclass(frozen=True, slots=True)
class AblationResult:
    """How well a variant does; accuracies are those of one view."""

    table: Table
    variant: str
    parameters: int
    train_top1: float  # on 2,000 of the training pictures
    top1: float
    top5: float
    seconds: float


def ablate(folder: Path, plan: Plan, output: Path, report: Callable[[int, int], None]) -> list[AblationResult]:
    """Train every variant of a network with the same plan.

    Parameters
    ----------
    folder
        See ``read_dataset``.
    plan
        Of the unchanged network.
    output
        Folder for the decoded pictures, and for one folder of checkpoints per variant. A study that was interrupted
        continues from them.
    report
        Called with the steps done and all steps.

    Returns
    -------
    list of AblationResult
        Of both tables; each begins with the unchanged network.

    Raises
    ------
    InvalidArgument, NotFound, ImageDecodeError, FailedPrecondition, DataLoss
        See ``train``. Also raised if the network lacks the papers' layers, see ``layer_variants``.

    References
    ----------
    Zeiler & Fergus 2013, table 3; Krizhevsky et al. 2012, sections 3.3 to 4.2.
    """
    base = find_network(plan.network)
    variants = [*layer_variants(base, plan.network), *technique_variants()]
    pictures = read_training_set([folder], base.recipe, output)
    results: list[AblationResult] = []
    for i, variant in enumerate(variants):

        def report_variant(progress: Progress, i: int = i) -> None:
            report(i * progress.n_steps + progress.step, len(variants) * progress.n_steps)

        trained = _train(variant, base, plan, pictures, output, report_variant)
        results.append(_measure(variant, trained, base, pictures))
    first = next(i for i, result in enumerate(results) if result.table == "techniques")
    return [*results[:first], replace(results[0], table="techniques"), *results[first:]]


def layer_variants(base: Network, name: str) -> list[Variant]:
    """Return the variants of table 3 of Zeiler & Fergus 2013, in this network's own widths.

    Two things differ from the table. Its enlarged layers 3, 4, 5 have 512, 1024, 512 maps instead of 384, 384, 256;
    here each has twice its own number. Its row that also enlarges layers 6, 7 is left out.

    Raises
    ------
    InvalidArgument
        The network does not have the papers' layers 3, 4, 6 and 7.
    """
    with torch.device("meta"):
        module: Any = base.build(2)
    if not {"conv3", "conv4", "fc6", "fc7"} <= {part for part, _ in module.named_children()}:
        fitting = [other for other in NETWORKS if other.startswith(("alexnet", "zfnet"))]
        raise InvalidArgument(
            f"network {name!r} does not have the papers' layers 3, 4, 6 and 7. Choose one of {', '.join(fitting)}",
            name=name,
        )
    m1, m2, m3, m4, m5 = (part.out_channels for part in module.modules() if isinstance(part, nn.Conv2d))
    units, inputs = module.fc6.out_features, module.fc6.in_features
    thin = {"maps": (m1, m2, m2, m2, m5)}  # conv5 gets the output of conv2
    convolutions = _remove("conv3", "conv4")
    hidden = [_remove("fc6", "norm6", "fc7", "norm7"), _remove_dropout]
    return [
        Variant("layers", "as it is"),
        Variant("layers", "without layers 3, 4", thin, [convolutions]),
        Variant("layers", "without layer 7", edits=[_remove("fc7", "norm7"), _merge_dropouts]),
        Variant("layers", "without layers 6, 7", {"units": inputs}, hidden),
        Variant("layers", "without layers 3, 4, 6, 7", thin | {"units": inputs}, [convolutions, *hidden]),
        Variant("layers", "layers 6, 7: half the units", {"units": units // 2}),
        Variant("layers", "layers 6, 7: twice the units", {"units": 2 * units}),
        Variant("layers", "layers 3, 4, 5: twice the maps", {"maps": (m1, m2, 2 * m3, 2 * m4, 2 * m5)}),
    ]


def technique_variants() -> list[Variant]:
    """Return the network without each technique of Krizhevsky et al. 2012, sections 3.3 to 4.2, one at a time."""
    return [
        Variant("techniques", "without normalisation", edits=[_remove_normalisation]),
        Variant("techniques", "without overlap in pooling", edits=[_remove_pooling_overlap]),
        Variant("techniques", "without dropout", edits=[_remove_dropout]),
        Variant("techniques", "without data augmentation", has_augmentation=False),
    ]


def _train(
    variant: Variant, base: Network, plan: Plan, pictures: TrainingSet, output: Path, report: Callable[[Progress], None]
) -> TrainedNetwork:
    name = f"{plan.network} {variant.name}"
    setup = TrainingSetup(replace(plan, network=name), variant.network(base), variant.recipe(find_recipe(plan.recipe)))
    checkpoints = output / "-".join(name.replace(",", "").replace(":", "").split())
    checkpoints.mkdir(exist_ok=True)
    return run_epochs(
        setup,
        pictures,
        checkpoints,
        report,
        single_process(),
        keeps_epoch=lambda epoch: False,  # their weights could not be loaded: no table has these networks
    )


def _measure(variant: Variant, trained: TrainedNetwork, base: Network, pictures: TrainingSet) -> AblationResult:
    rows = np.sort(np.random.default_rng(0).permutation(len(pictures))[:MONITOR_PICTURES])
    record, ((_, pixels),) = trained.record, pictures.gather(rows)  # there is one folder
    return AblationResult(
        table=variant.table,
        variant=variant.name,
        parameters=sum(parameter.numel() for parameter in trained.module.parameters()),
        train_top1=measure_accuracy(trained.module, base, pixels, pictures.labels[rows])[0],
        top1=record.top1,
        top5=record.top5,
        seconds=record.seconds,
    )


def _remove(*names: str) -> Edit:
    def edit(module: Any) -> None:
        for name in names:
            setattr(module, name, nn.Identity())

    return edit


def _merge_dropouts(module: Any) -> None:
    """Keep as many units as before: without the layer between them, two dropouts act on the same units."""
    module.dropout = nn.Dropout(1 - (1 - module.dropout.p) ** 0.5)


def _remove_dropout(module: Any) -> None:
    module.dropout = nn.Identity()


def _remove_normalisation(module: Any) -> None:
    for part in list(module.modules()):
        for name, child in part.named_children():
            if isinstance(child, LocalResponseNorm | _BatchNorm):
                setattr(part, name, nn.Identity())
        if isinstance(part, nn.Conv2d) and part.bias is None:
            part.bias = nn.Parameter(torch.zeros(part.out_channels))


def _remove_pooling_overlap(module: Any) -> None:
    """Pool 2 x 2 pixels with stride 2, which gives maps of the same size as 3 x 3 with stride 2."""
    for part in list(module.modules()):
        for name, child in part.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(part, name, nn.MaxPool2d(2))
