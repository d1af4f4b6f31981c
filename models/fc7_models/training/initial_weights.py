"""The weights that a run begins with: those of an earlier run or of a bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fc7.errors import InvalidArgument
from fc7_models.networks import find_network
from fc7_models.networks.layers import batch_normed_layers
from fc7_models.training.plan import Plan
from fc7_models.training.trained_network import TrainedNetwork, TrainingRecord, fill_batch_norm, load_trained
from fc7_service.bundle.bundle import MODEL, Bundle
from fc7_service.bundle.folder import MANIFEST, open_bundle, shipped_bundles

_MIN_VARIANCE = 1e-6  # of a unit's inputs
_DEAD = -4.0  # a unit whose mean lies this many deviations below zero hardly ever fires


@dataclass(frozen=True, slots=True)
class InitialWeights:
    """The network that a run begins with, and the digest of its file."""

    trained: TrainedNetwork
    sha256: str


def load_initial_weights(source: Path, plan: Plan) -> InitialWeights:
    """Read the weights that a run begins with.

    Parameters
    ----------
    source
        ``trained.pt`` or ``epoch-N.pt`` of an earlier run; or a bundle: its folder, or the name of a shipped one.
    plan
        Of the run that begins.

    Raises
    ------
    NotFound
        No such file.
    InvalidArgument
        It holds another network.
    DataLoss, FailedPrecondition
        It is damaged, or a newer fc7 wrote it.
    """
    shipped = shipped_bundles().get(str(source))
    if shipped or (source / MANIFEST).is_file():
        bundle = open_bundle(shipped or source)
        _check_network(bundle.network, source, plan)
        return InitialWeights(_read_bundle(bundle), bundle.graph_sha256)
    trained = load_trained(source)
    _check_network(trained.record.plan.network, source, plan)
    return InitialWeights(trained, hashlib.sha256(source.read_bytes()).hexdigest())


@torch.no_grad()
def calibrate_batch_norm(module: nn.Module, x: Tensor) -> None:
    """Give batch normalisation that has no statistics yet those of ``x``, in place.

    The network still computes the same: the weights of the next layer make up for the new scale of each unit. Dead
    units of fc6 and fc7 are revived: they are shifted so that they fire on half of the inputs, and the next layer
    ignores them at first.

    Parameters
    ----------
    module
        A network whose weights came through ``fill_batch_norm``.
    x
        float32 (N, 3, H, W), the network's input.
    """
    new = [norm for norm in module.modules() if isinstance(norm, _BatchNorm) and not norm.num_batches_tracked]
    next_layers = _layers_after_norms(module)
    hooks = [norm.register_forward_pre_hook(_calibrator(next_layers[norm])) for norm in new]
    try:
        module.eval()(x)
    finally:
        for hook in hooks:
            hook.remove()


def _check_network(network: str, source: Path, plan: Plan) -> None:
    if network != plan.network:
        raise InvalidArgument(
            f"{str(source)!r} holds the network {network!r}, but the run trains {plan.network!r}. "
            "Begin with weights of the same network",
            name=str(source),
        )


def _read_bundle(bundle: Bundle) -> TrainedNetwork:
    """Return the network of a bundle; its batch normalisation only adds the biases."""
    graph = onnx.load_from_string(bundle.read(MODEL)).graph
    stored = {
        tensor.name.removesuffix(".float16").removeprefix("module.").removeprefix("network."): tensor
        for tensor in graph.initializer
    }
    classes = [label.id for label in bundle.classes]
    module = find_network(bundle.network).build(len(classes))
    stored_names = {name: _folded_name(module, name) for name in module.state_dict()}
    weights = {
        name: torch.from_numpy(numpy_helper.to_array(stored[folded]).copy()).float()
        for name, folded in stored_names.items()
        if folded in stored
    }
    module.load_state_dict(fill_batch_norm(weights, module))
    record = TrainingRecord(
        plan=Plan(bundle.network, epochs=0),
        classes=classes,
        names={label.id: label.name for label in bundle.classes},
        data=f"`{bundle.name}` (graph {bundle.graph_sha256[:12]})",
        machine="",
        n_pictures=0,
        seconds=0.0,
        n_validation=0,
        top1=0.0,
        top5=0.0,
    )
    return TrainedNetwork(module.eval(), record)


def _folded_name(module: nn.Module, name: str) -> str:
    """Return a weight's name in a bundle, where batch normalisation is folded into the layer before it."""
    part, _, kind = name.rpartition(".")
    layers = {norm: layer for layer, norm in batch_normed_layers(module)}
    if isinstance(module.get_submodule(part), _BatchNorm):
        layer = layers.get(part) or f"{part.partition('.')[0]}.0"  # the convolution of `conv_norm_relu`
        return f"{layer}.bias" if kind == "bias" else ""
    return "" if kind == "bias" and part in layers.values() else name


def _calibrator(next_layer: nn.Module) -> Callable[[Any, tuple[Tensor]], None]:
    """Return the hook that calibrates one batch normalisation before it runs."""

    def calibrate(norm: Any, inputs: tuple[Tensor]) -> None:
        (x,) = inputs
        axes = [0, *range(2, x.ndim)]
        mean, variance = x.mean(axes), x.var(axes, correction=0).clamp(min=_MIN_VARIANCE)
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        deviation = (variance + norm.eps).sqrt()
        shift = (gain * (mean - norm.running_mean) + norm.bias) / (gain * deviation)
        rescale = gain * deviation / norm.weight  # of the unit, as the next layer sees it
        if x.ndim == 2:
            rescale, shift = torch.where(shift < _DEAD, 0.0, rescale), torch.where(shift < _DEAD, 0.0, shift)
        weight: Tensor = next_layer.weight  # type: ignore[assignment]
        inputs_per_unit = weight.shape[1] // len(rescale)  # a linear layer sees each cell of a map
        weight *= rescale.repeat_interleave(inputs_per_unit).view(1, -1, *[1] * (weight.ndim - 2))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.bias.copy_(shift * norm.weight)
        norm.num_batches_tracked.fill_(1)

    return calibrate


def _layers_after_norms(module: nn.Module) -> dict[nn.Module, nn.Module]:
    """Return the weighted layer after each batch normalisation."""
    following: dict[nn.Module, nn.Module] = {}
    norm: nn.Module | None = None
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            norm = part
        elif isinstance(part, nn.Conv2d | nn.Linear) and norm is not None:
            following[norm], norm = part, None
    return following
