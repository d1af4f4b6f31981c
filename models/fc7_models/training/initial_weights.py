"""What a training begins with: the weights of an earlier run or of a bundle."""

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
from fc7_models.training.trained_network import Facts, Plan, Trained, complete, load_trained
from fc7_service.bundle.bundle import MODEL, Bundle
from fc7_service.bundle.folder import MANIFEST, open_bundle, shipped_bundles

_LEAST_VARIANCE = 1e-6  # of a unit's sums
_IDLE = -4.0  # deviations below zero at which a unit's sums lie on average that hardly ever fires


@dataclass(frozen=True, slots=True)
class Start:
    """What a run begins with, and the digest of its file."""

    trained: Trained
    sha256: str


def load_start(source: Path, plan: Plan) -> Start:
    """Read what a run of ``plan`` begins with.

    Parameters
    ----------
    source
        ``trained.pt`` or ``epoch-N.pt`` of an earlier run; or a bundle: its folder, or the name of a shipped one.
    plan
        Of the run.

    Raises
    ------
    NotFound
        No such file.
    InvalidArgument
        It is of another network.
    DataLoss, FailedPrecondition
        It is damaged, or of a newer fc7.
    """
    shipped = shipped_bundles().get(str(source))
    if shipped or (source / MANIFEST).is_file():
        bundle = open_bundle(shipped or source)
        _check_network(bundle.network, source, plan)
        return Start(_from_bundle(bundle), bundle.graph_sha256)
    trained = load_trained(source)
    _check_network(trained.facts.plan.network, source, plan)
    return Start(trained, hashlib.sha256(source.read_bytes()).hexdigest())


def _check_network(network: str, source: Path, plan: Plan) -> None:
    if network != plan.network:
        raise InvalidArgument(
            f"{str(source)!r} holds the network {network!r}, not {plan.network!r}: "
            "a run begins with weights of its own network",
            name=str(source),
        )


def _from_bundle(bundle: Bundle) -> Trained:
    """Return the network of a bundle with batch normalisation that does nothing but add the biases."""
    graph = onnx.load_from_string(bundle.read(MODEL)).graph
    weights = {
        tensor.name.removesuffix(".float16").removeprefix("module.").removeprefix("network."): tensor
        for tensor in graph.initializer
    }
    classes = [one.id for one in bundle.classes]
    module = find_network(bundle.network).build(len(classes))
    names = {name: _folded_name(module, name) for name in module.state_dict()}
    known = {
        name: torch.from_numpy(numpy_helper.to_array(weights[folded]).copy()).float()
        for name, folded in names.items()
        if folded in weights
    }
    module.load_state_dict(complete(known, module))
    facts = Facts(
        plan=Plan(bundle.network, epochs=0),
        classes=classes,
        names={one.id: one.name for one in bundle.classes},
        data=f"`{bundle.name}` (graph {bundle.graph_sha256[:12]})",
        machine="",
        n_pictures=0,
        seconds=0.0,
        n_validation=0,
        top1=0.0,
        top5=0.0,
    )
    return Trained(module.eval(), facts)


def _folded_name(module: nn.Module, name: str) -> str:
    """Return what a weight is called in a bundle, where batch normalisation is folded into the layer before it."""
    part, _, kind = name.rpartition(".")
    layers = {norm: layer for layer, norm in batch_normed_layers(module)}
    if isinstance(module.get_submodule(part), _BatchNorm):
        layer = layers.get(part) or f"{part.partition('.')[0]}.0"  # of ``conv_norm_relu``
        return f"{layer}.bias" if kind == "bias" else ""
    return "" if kind == "bias" and part in layers.values() else name


@torch.no_grad()
def settle(module: nn.Module, x: Tensor) -> None:
    """Give batch normalisation without statistics those of ``x`` (N, 3, H, W), in place.

    The network computes what it did: what a unit's sums are divided by, the weights of the next layer make up for.
    Units of fc6 and fc7 that hardly ever fire begin anew: brought back to where half of their sums are above zero, and
    heard by nobody yet.
    """
    fresh = [norm for norm in module.modules() if isinstance(norm, _BatchNorm) and not norm.num_batches_tracked]
    followers = _followers(module)
    hooks = [norm.register_forward_pre_hook(_settler(followers[norm])) for norm in fresh]
    try:
        module.eval()(x)
    finally:
        for hook in hooks:
            hook.remove()


def _settler(follower: nn.Module) -> Callable[[Any, tuple[Tensor]], None]:
    def settle_one(norm: Any, inputs: tuple[Tensor]) -> None:
        (x,) = inputs
        over = [0, *range(2, x.ndim)]
        mean, variance = x.mean(over), x.var(over, correction=0).clamp(min=_LEAST_VARIANCE)
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        deviation = (variance + norm.eps).sqrt()
        shift = (gain * (mean - norm.running_mean) + norm.bias) / (gain * deviation)
        heard = gain * deviation / norm.weight
        if x.ndim == 2:
            heard, shift = torch.where(shift < _IDLE, 0.0, heard), torch.where(shift < _IDLE, 0.0, shift)
        weight: Tensor = follower.weight  # type: ignore[assignment]
        each = weight.shape[1] // len(heard)  # inputs of a linear layer that one map feeds
        weight *= heard.repeat_interleave(each).view(1, -1, *[1] * (weight.ndim - 2))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.bias.copy_(shift * norm.weight)
        norm.num_batches_tracked.fill_(1)

    return settle_one


def _followers(module: nn.Module) -> dict[nn.Module, nn.Module]:
    """Return the weighted layer that follows each batch normalisation."""
    found: dict[nn.Module, nn.Module] = {}
    last: nn.Module | None = None
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            last = part
        elif isinstance(part, nn.Conv2d | nn.Linear) and last is not None:
            found[last], last = part, None
    return found
