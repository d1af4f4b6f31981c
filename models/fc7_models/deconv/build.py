"""The deconvnet of a network: nodes that run its graph backwards, from one unit of a layer to the pixels.

The file holds those nodes alone and names the weights of ``model.onnx``. Messages of Protocol Buffers are merged by
joining their bytes, so ``model.onnx`` followed by ``deconv.onnx`` *is* the graph that runs forth and back.
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

MIN_OPSET = 16  # ScatterElements adds


def build_deconv(graph: bytes, px: int) -> bytes:
    """Return the ``deconv.onnx`` of a bundle's graph.

    Parameters
    ----------
    graph
        The bundle's ``model.onnx``: a chain of convolutions, ReLU, normalisation, pooling and fully connected layers.
    px
        Height and width of the recipe's picture. Other sizes that the network takes are explained too.

    Returns
    -------
    bytes
        To be appended to ``graph``. Together they take, beside the picture, ``unit`` int64 (N,) and ``position``
        int64 (N,), ``y * W + x`` in the unit's map or -1 for where it is strongest (the first such in row order), and
        give for each layer L (conv1, conv2, ... after their ReLU, and the layers of the bundle):

        - ``L`` itself;
        - ``peaks/L`` float32 (N, C) and ``places/L`` int64 (N, C), each map's maximum and where (with maps alone);
        - ``value/L`` float32 (N,) and ``place/L`` int64 (N,), the activation that is kept, and where;
        - ``pixels/RULE/L`` float32 (N, 3, H, W), its projection.

        RULE is "deconv" (the signal is rectified, normalisation passes it unchanged, values that meet in unpooling
        add), "gradient" (the forward mask; seeded with one, so that it is the gradient of the activation, through
        normalisation too) or "guided" (both masks, normalisation unchanged). The metadata "layers" is a list of
        {"name", "channels", "map", "size", "stride", "offset"}, see ``receptive.Field``.

    Raises
    ------
    FailedPrecondition
        Before its first layer the network branches, or uses an operator that has no way back.

    References
    ----------
    Zeiler & Fergus 2013, section 2.1; Simonyan et al. 2014; Springenberg et al. 2015.

    Notes
    -----
    Only the map of the unit is computed of its layer, the way back runs in windows (see ``windows``), maxima are found
    by comparing whole maps (see ``unpooling``), and filters of 5 x 5 over whole maps are multiplied in tiles (see
    ``winograd``). From conv5 forth and back cost, of a forward pass: of the paper's AlexNet 1.27 to 1.32; of
    ``alexnet-64``, whose conv5 sees the whole picture, 1.24 to 1.27 for nine units and 1.27 to 1.33 for one. Of what
    is added for one, two fifths are filters turned round, read from memory once more (``bench/explanation_cost.py``).
    """
    model = onnx.load_from_string(graph)
    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if version < MIN_OPSET:
        raise no_deconvnet(f"its operators are of version {version}, at least {MIN_OPSET} is needed")
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
    """Return the layers, first to last: the convolutions after their ReLU, and the outputs that lie on the chain."""
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
                layers[_free(f"conv{n_convs}", chain)] = layer
    return [
        Target(name, name if name in chain.outputs else steps[-1].output, steps, chain.shapes(steps, px))
        for name, steps in sorted(layers.items(), key=lambda item: len(item[1]))
    ]


def _path(output: str, chain: LayerChain) -> list[Step] | None:
    """Return the steps to an output; None where no single path leads there (a pooled layer), which is not explained."""
    try:
        return chain.walk(output)[::-1]
    except FailedPrecondition:
        return None


def _is_on(steps: list[Step], whole: list[Step]) -> bool:
    *_, n_before = [0, *(i for i, step in enumerate(steps, 1) if step.kind != "flatten")]
    return [step.output for step in steps[:n_before]] == [step.output for step in whole[:n_before]]


def _free(name: str, chain: LayerChain) -> str:
    if chain.has(name):
        raise no_deconvnet(f"another tensor of it bears the name {name!r}")
    return name


def _describe(target: Target, px: int) -> dict[str, Any]:
    shape = target.shape
    place = {"name": target.name, "channels": shape[0], "map": list(shape[1:]) or None}
    return place | asdict(receptive_field(target.steps, px))
