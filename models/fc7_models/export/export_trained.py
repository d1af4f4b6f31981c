"""Make a bundle from a network that fc7 trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from onnx import helper
from torch import nn

from fc7.errors import InvalidArgument
from fc7_models.data.inference import Report
from fc7_models.export.golden_images import draw_golden_inputs
from fc7_models.export.layer_pooling import (
    GEM_LAYER,
    HALF_SIZE_POOL5,
    POOLED_LAYER,
    RECOMMENDED,
    add_pooled_layers,
)
from fc7_models.export.model_card import write_card
from fc7_models.export.pack_bundle import BundleContents, check_output, pack_bundle, run_graph
from fc7_models.export.torch_to_onnx import check_parity, fold_batch_norm, round_to_fp16, to_onnx
from fc7_models.networks import Network
from fc7_models.training.trained_network import TrainedNetwork
from fc7_service.bundle.bundle import SUMS, Bundle, ClassLabel, Layer


def export_bundle(
    trained: TrainedNetwork,
    output: Path,
    *,
    name: str,
    notes: str = "",
    pictures: Sequence[Path] = (),
    default_layer: str | None = None,
    report: Report = lambda done, total: None,
) -> Bundle:
    """Write the bundle of a trained network.

    Parameters
    ----------
    trained
        The network, and the facts of its training.
    output
        Folder of the bundle; must not exist.
    name
        Name of the model.
    notes
        Markdown to append to the card.
    pictures
        Files from which ``conv5_pooled`` and ``conv5_gem`` are learnt, best those that the network was trained on.
        Without any, the bundle has no such layers.
    default_layer
        Layer that a caller gets by default. None means fc7, or the last layer before the logits.
    report
        Called with the number of pictures learnt from and their total.

    Raises
    ------
    AlreadyExists
        ``output`` exists.
    InvalidArgument
        ``name`` is not valid, ``default_layer`` does not exist, or pictures are given for a network of one size.
    ImageDecodeError, FailedPrecondition
        A picture is damaged or cannot be read. The message names it.
    DataLoss
        A layer computed by ONNX Runtime differs from torch's by more than ``PARITY``. Nothing is written.
    """
    check_output(output, name)
    network, record = trained.network, trained.record
    module = round_to_fp16(fold_batch_norm(trained.module))
    _check_layer(default_layer, module, network, [POOLED_LAYER, GEM_LAYER] if pictures else [])
    card = write_card(trained, name)
    own: tuple[Layer, ...] = ()
    if pictures:
        pooled = add_pooled_layers(module, network, pictures, report)
        module, card, own = round_to_fp16(pooled), card + pooled.paragraphs(), pooled.layers
    graph = to_onnx(module, network)
    for recipe in dict.fromkeys((network.recipe, *(layer.recipe for layer in own if layer.recipe))):
        _, inputs = draw_golden_inputs(recipe)
        check_parity(module, inputs, run_graph(graph, inputs))
    if own:
        graph = _note_pooled(graph)
    classes = [ClassLabel(c, record.names.get(c, c)) for c in record.classes]
    contents = BundleContents(
        record.plan.network,
        graph,
        network.recipe,
        classes,
        card + notes,
        default_layer,
        own,
        RECOMMENDED if own else {},
    )
    return pack_bundle(contents, output, name=name)


def _note_pooled(graph: bytes) -> bytes:
    """Note in an ONNX file which tensors ``conv5_pooled`` is linear in, and remove the output that is not a layer."""
    model = onnx.load_from_string(graph)
    model.graph.output.remove(next(output for output in model.graph.output if output.name == HALF_SIZE_POOL5))
    helper.set_model_props(model, {SUMS: json.dumps({POOLED_LAYER: ["pool5", HALF_SIZE_POOL5]})})
    return bytes(model.SerializeToString())


def _check_layer(layer: str | None, module: nn.Module, network: Network, more: list[str]) -> None:
    px = network.recipe.crop_px
    with torch.inference_mode():
        names = [*module(torch.zeros(1, 3, px, px)), *more]
    if layer is not None and layer not in names:
        raise InvalidArgument(f"default layer {layer!r} does not exist. Choose one of {', '.join(names)}", name=layer)
