"""A trained network becomes a bundle: ONNX graph, labels, golden vectors, card."""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from fc7.errors import DataLoss, InvalidArgument
from fc7_models.data.forward import Report
from fc7_models.export.card import write_card
from fc7_models.export.pack import Contents, check_target, golden_inputs, pack, run_graph
from fc7_models.export.pooling import HALF, NAME, add_pooled
from fc7_models.networks import Network
from fc7_models.networks.layers import normed_layers
from fc7_models.training.trained_network import Trained
from fc7_service.bundle.bundle import SUMS, Bundle, ClassLabel, Layer

OPSET = 18  # the first with every operator used here in its present form
INPUT = "image"
PARITY = 1e-4  # largest difference between torch and ONNX Runtime, as a share of the layer's largest value
_HALF_FROM = 1024  # numbers; smaller tensors (biases) stay fp32


def export_bundle(
    trained: Trained,
    output: Path,
    *,
    name: str,
    notes: str = "",
    pictures: Sequence[Path] = (),
    default_layer: str | None = None,
    report: Report = lambda done, total: None,
) -> Bundle:
    """Write a trained network's bundle.

    Parameters
    ----------
    trained
        The network and the facts of its training.
    output
        Folder to be made.
    name
        Name of the model.
    notes
        Markdown that ends the card.
    pictures
        Files that ``conv5_pooled`` is learnt from, best those that the network was trained on; without any there is
        no such layer.
    default_layer
        Layer that is meant where none is named; None for fc7, or the last before the logits.
    report
        Called with pictures learnt from, and their number.

    Raises
    ------
    AlreadyExists
        ``output`` exists.
    InvalidArgument
        ``name`` cannot be one; pictures for a network of one size; no such ``default_layer``.
    ImageDecodeError, FailedPrecondition
        A picture is damaged or cannot be read; it is named.
    DataLoss
        ONNX Runtime does not reproduce torch's layers to ``PARITY``; nothing is written.
    """
    check_target(output, name)
    network, facts = trained.network, trained.facts
    module = halve(fold(trained.module))
    _check_layer(default_layer, module, network, [NAME] if pictures else [])
    card = write_card(trained, name)
    own: tuple[Layer, ...] = ()
    if pictures:
        pooled = add_pooled(module, network, pictures, report)
        module, card, own = halve(pooled), card + pooled.paragraph(), (pooled.layer,)
    graph = to_onnx(module, network)
    for recipe in (network.recipe, *(layer.recipe for layer in own if layer.recipe)):
        _, inputs = golden_inputs(recipe)
        check_parity(module, inputs, run_graph(graph, inputs))
    if own:
        graph = _note_pooled(graph)
    classes = [ClassLabel(c, facts.names.get(c, c)) for c in facts.classes]
    contents = Contents(facts.plan.network, graph, network.recipe, classes, card + notes, default_layer, own)
    return pack(contents, output, name=name)


def fold(module: nn.Module) -> nn.Module:
    """Return a copy for inference, each batch normalisation folded into the layer before it, pooling after ReLU."""
    module = copy.deepcopy(module).eval()
    for parent in list(module.modules()):
        for name, block in parent.named_children():
            match list(block.children()):
                case [nn.Conv2d() as conv, *pool, nn.BatchNorm2d() as norm, relu]:  # of ``conv_norm_relu``
                    setattr(parent, name, nn.Sequential(fuse_conv_bn_eval(conv, norm), relu, *pool))
    for layer, follower in normed_layers(module):
        setattr(module, layer, fuse_linear_bn_eval(getattr(module, layer), getattr(module, follower)))
        setattr(module, follower, nn.Identity())
    return module


def halve(module: nn.Module) -> nn.Module:
    """Round large weights to what fp16 can hold, in place: they are stored so, and computed with in fp32."""
    for parameter in module.parameters():
        if parameter.numel() >= _HALF_FROM:
            parameter.data = parameter.data.half().float()
    return module


def to_onnx(module: nn.Module, network: Network) -> bytes:
    """Return the ONNX file of a module: batch dynamic, and height and width where the network takes any size.

    Large weights are stored as fp16, whole numbers as int8, behind a Cast, which the runtime folds when it loads them.
    """
    px = network.recipe.crop_px
    example = torch.zeros(2, 3, px, px)
    free: dict[int, object] = {0: torch.export.Dim("N", min=1, max=4096)}
    if network.is_any_size:
        free |= {2: torch.export.Dim("H", min=32, max=1024), 3: torch.export.Dim("W", min=32, max=1024)}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, which these networks never use
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        names = list(module(example))
        program = torch.onnx.export(
            _Outputs(module), (example,), dynamo=True, opset_version=OPSET, external_data=False, verbose=False,
            input_names=[INPUT], output_names=names, dynamic_shapes=(free,),
        )  # fmt: skip
    assert program is not None
    model = program.model_proto
    _store_small(model)
    _strip(model)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _note_pooled(graph: bytes) -> bytes:
    """Say in an ONNX file what ``conv5_pooled`` is linear in; of this, what is no layer of its own is no output."""
    model = onnx.load_from_string(graph)
    model.graph.output.remove(next(output for output in model.graph.output if output.name == HALF))
    helper.set_model_props(model, {SUMS: json.dumps({NAME: ["pool5", HALF]})})
    return bytes(model.SerializeToString())


def check_parity(module: nn.Module, inputs: NDArray[np.float32], layers: dict[str, NDArray[np.float32]]) -> None:
    """Compare torch's layers with those of ONNX Runtime.

    Raises
    ------
    DataLoss
        A layer differs by more than ``PARITY`` of its largest value.
    """
    with torch.inference_mode():
        expected = module(torch.from_numpy(inputs))
    for name, values in layers.items():
        wanted = expected[name].numpy()
        difference = float(abs(values - wanted).max() / max(abs(wanted).max(), 1e-30))
        if not difference <= PARITY:
            raise DataLoss(
                f"layer {name} of the exported graph differs from torch by {difference:.1e}: at most {PARITY}"
            )


def _check_layer(layer: str | None, module: nn.Module, network: Network, more: list[str]) -> None:
    px = network.recipe.crop_px
    with torch.inference_mode():
        names = [*module(torch.zeros(1, 3, px, px)), *more]
    if layer is not None and layer not in names:
        raise InvalidArgument(f"default layer {layer!r} is none of {', '.join(names)}", name=layer)


class _Outputs(nn.Module):
    """The network with its layers as a tuple, which is what the exporter names."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the layers in order."""
        return tuple(self.module(image).values())


def _store_small(model: onnx.ModelProto) -> None:
    """Store large initializers that int8 or fp16 holds exactly in that, each behind a Cast to fp32."""
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < _HALF_FROM:
            continue
        is_whole = np.array_equal(values, values.clip(-127, 127).round())
        small = values.astype(np.int8 if is_whole else np.float16)
        if np.array_equal(small.astype(np.float32), values):  # what was rounded before; constants stay as they are
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(small, f"{name}.{small.dtype}"))
            casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    for i, cast in enumerate(casts):
        model.graph.node.insert(i, cast)


def _strip(model: onnx.ModelProto) -> None:
    """Leave out what names the exporting machine: stack traces, file paths, documentation."""
    model.doc_string = model.graph.doc_string = ""
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    parts: list[Any] = [*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output]
    for part in parts:
        part.doc_string = ""
        del part.metadata_props[:]
