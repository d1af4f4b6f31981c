"""Build the deconvnet of a network: nodes that run its graph backwards, from one unit of a layer to the pixels.

The file holds only these nodes and refers to the weights of ``model.onnx`` by name. Joining the bytes of two Protocol
Buffers messages merges them, so that ``model.onnx`` followed by ``deconv.onnx`` is one graph, forward and back.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import takewhile
from typing import Any

import onnx
from onnx import TensorProto

from fc7.errors import FailedPrecondition
from fc7_models.deconv.backward_rules import BackwardWriter
from fc7_models.deconv.graph_writer import GraphWriter
from fc7_models.deconv.layer_chain import LayerChain, Step, no_deconvnet
from fc7_models.deconv.projection import POSITION, UNIT, Projection, Target
from fc7_models.deconv.receptive_field import receptive_field
from fc7_models.deconv.signal_window import WindowWriter

MIN_OPSET = 16  # the first version in which ScatterElements can add


def build_deconv(graph: bytes, px: int) -> bytes:
    """Return the content of ``deconv.onnx`` for a bundle's graph.

    Parameters
    ----------
    graph
        The bundle's ``model.onnx``: a chain of convolutions, ReLUs, normalisation, pooling and fully connected layers.
    px
        Height and width of the recipe's picture. The result also works for other sizes that the network takes.

    Returns
    -------
    bytes
        Nodes to append to ``graph``. Besides the picture, the joined graph has two inputs:

        - ``unit`` int64 (N,), one unit per picture;
        - ``position`` int64 (N,), ``y * W + x`` in the map of the unit, or -1 for its maximum. Of equal maxima the
          first in row order counts.

        For each layer L (conv1, conv2, ... after their ReLU, and the layers of the bundle) it has these outputs:

        - ``L`` itself;
        - ``peaks/L`` float32 (N, C) and ``places/L`` int64 (N, C), the maximum of each map and its position (only for
          layers that are maps);
        - ``value/L`` float32 (N,) and ``place/L`` int64 (N,), the activation that is projected, and its position;
        - ``pixels/RULE/L`` float32 (N, 3, H, W), its projection by RULE.

        The rules are:

        - "deconv": each ReLU rectifies the signal, and normalisation passes it unchanged;
        - "gradient": each ReLU blocks the signal where it was off. The signal starts as one, so that the result is the
          gradient of the activation, through normalisation too;
        - "guided": each ReLU does both, and normalisation passes the signal unchanged.

        The metadata property "layers" is a JSON list of {"name", "channels", "map", "size", "stride", "offset"}; see
        ``receptive_field.Field``.

    Raises
    ------
    FailedPrecondition
        The network branches, or uses an operator that has no way back.

    References
    ----------
    Zeiler & Fergus 2013, section 2.1; Simonyan et al. 2014; Springenberg et al. 2015.

    Notes
    -----
    Four things keep it fast. Of the unit's layer, only the map of the unit is computed. The way back runs in windows
    (``signal_window``). Maxima are found by comparing whole maps (``unpooling``). Whole maps are convolved with 5 x 5
    filters in tiles (``winograd``).

    Projecting a unit of conv5, forward pass included, takes 1.27 to 1.32 times as long as a forward pass in the
    paper's AlexNet. For ``alexnet-64``, whose conv5 sees the whole picture, the factor is 1.24 to 1.27 for nine units
    and 1.27 to 1.33 for one. Two fifths of the extra time for one unit go into reading the filters once more, rotated
    (``bench/explanation_cost.py``).
    """
    model = onnx.load_from_string(graph)
    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if version < MIN_OPSET:
        raise no_deconvnet(f"its operators have version {version}, but at least {MIN_OPSET} is needed")
    chain = LayerChain(model)
    targets = _targets(chain, px)
    writer = GraphWriter()
    writer.input(UNIT, TensorProto.INT64, ["N"])
    writer.input(POSITION, TensorProto.INT64, ["N"])
    for target in targets:
        if target.name not in chain.outputs:
            writer.output(target.name, target.tensor)
        Projection(BackwardWriter(writer, chain, WindowWriter(writer)), target).write()
    writer.note("layers", json.dumps([_describe(target, px) for target in targets]))
    return bytes(writer.model.SerializeToString())


def _targets(chain: LayerChain, px: int) -> list[Target]:
    """Return the layers, first to last: the convolutions after their ReLU, and the outputs on the same path."""
    paths = {name: steps for name in chain.outputs if (steps := _path(name, chain))}
    whole = max(reversed(paths.values()), key=len) if paths else chain.walk(chain.outputs[-1])[::-1]
    layers = {name: steps for name, steps in paths.items() if _is_on(steps, whole)}
    ends = {steps[-1].output for steps in layers.values()}
    n_convs = 0
    for i, step in enumerate(whole, 1):
        if step.kind == "conv":
            n_convs += 1
            after = list(takewhile(lambda s: s.kind in ("relu", "batch_norm"), whole[i:]))
            layer = whole[: i + len(after)]
            if layer[-1].output not in ends:
                layers[_unused(f"conv{n_convs}", chain)] = layer
    return [
        Target(name, name if name in chain.outputs else steps[-1].output, steps, chain.shapes(steps, px))
        for name, steps in sorted(layers.items(), key=lambda item: len(item[1]))
    ]


def _path(output: str, chain: LayerChain) -> list[Step] | None:
    """Return the steps to an output, or None if several paths lead there, as to a pooled layer."""
    try:
        return chain.walk(output)[::-1]
    except FailedPrecondition:
        return None


def _is_on(steps: list[Step], whole: list[Step]) -> bool:
    """Return whether ``steps`` are the beginning of ``whole``, whatever flattening follows them."""
    *_, n_before = [0, *(i for i, step in enumerate(steps, 1) if step.kind != "flatten")]
    return [step.output for step in steps[:n_before]] == [step.output for step in whole[:n_before]]


def _unused(name: str, chain: LayerChain) -> str:
    if chain.has(name):
        raise no_deconvnet(f"it has another tensor with the name {name!r}")
    return name


def _describe(target: Target, px: int) -> dict[str, Any]:
    shape = target.shape
    place = {"name": target.name, "channels": shape[0], "map": list(shape[1:]) or None}
    return place | asdict(receptive_field(target.steps, px))
