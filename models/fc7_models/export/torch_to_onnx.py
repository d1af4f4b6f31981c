"""Convert a torch network into an ONNX graph, and check that both compute the same."""

from __future__ import annotations

import copy
import logging
import warnings
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from fc7.errors import DataLoss
from fc7_models.networks import Network
from fc7_models.networks.layers import batch_normed_layers

OPSET = 18  # the first version with the present form of every operator used here
INPUT = "image"
PARITY = 1e-4  # largest difference between torch and ONNX Runtime, relative to the layer's largest value
_FP16_FROM = 1024  # values; smaller tensors, such as biases, stay fp32


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """Return a copy for inference, with batch normalisation folded into the layers before it.

    Blocks of ``conv_norm_relu`` become convolution, ReLU, pooling.

    References
    ----------
    Ioffe & Szegedy 2015, algorithm 2: at inference, batch normalisation is a linear function with stored statistics.
    """
    module = copy.deepcopy(module).eval()
    for parent in list(module.modules()):
        for name, block in parent.named_children():
            match list(block.children()):
                case [nn.Conv2d() as conv, *pool, nn.BatchNorm2d() as norm, relu]:  # a block of ``conv_norm_relu``
                    setattr(parent, name, nn.Sequential(fuse_conv_bn_eval(conv, norm), relu, *pool))
    for layer, follower in batch_normed_layers(module):
        setattr(module, layer, fuse_linear_bn_eval(getattr(module, layer), getattr(module, follower)))
        setattr(module, follower, nn.Identity())
    return module


def round_to_fp16(module: nn.Module) -> nn.Module:
    """Round large weights to fp16, in place and kept as fp32: bundles store fp16 and compute in fp32."""
    for parameter in module.parameters():
        if parameter.numel() >= _FP16_FROM:
            parameter.data = parameter.data.half().float()
    return module


def to_onnx(module: nn.Module, network: Network) -> bytes:
    """Return the ONNX file of a module, with a dynamic batch, and dynamic height and width if the network allows it.

    Large weights are stored as fp16, or as int8 if they are whole numbers, followed by a Cast to fp32. ONNX Runtime
    applies the Cast once, when it loads the file.
    """
    px = network.recipe.crop_px
    example = torch.zeros(2, 3, px, px)
    free: dict[int, object] = {0: torch.export.Dim("N", min=1, max=4096)}
    if network.is_any_size:
        free |= {2: torch.export.Dim("H", min=32, max=1024), 3: torch.export.Dim("W", min=32, max=1024)}
    logging.getLogger("torch.onnx").setLevel(
        logging.ERROR
    )  # it warns that torchvision is missing, which these networks do not use
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
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


def check_parity(module: nn.Module, inputs: NDArray[np.float32], layers: dict[str, NDArray[np.float32]]) -> None:
    """Check that the layers of ONNX Runtime equal those of torch.

    Raises
    ------
    DataLoss
        A layer differs by more than ``PARITY``, relative to its largest value.
    """
    with torch.inference_mode():
        expected = module(torch.from_numpy(inputs))
    for name, values in layers.items():
        wanted = expected[name].numpy()
        difference = float(abs(values - wanted).max() / max(abs(wanted).max(), 1e-30))
        if not difference <= PARITY:
            raise DataLoss(
                f"layer {name!r} of the exported graph differs from torch by {difference:.1e}. The limit is {PARITY}"
            )


class _Outputs(nn.Module):
    """A network that returns its layers as a tuple, which the exporter can name."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the layers in order."""
        return tuple(self.module(image).values())


def _store_small(model: onnx.ModelProto) -> None:
    """Store large initializers as int8 or fp16 if that is exact, each followed by a Cast to fp32."""
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < _FP16_FROM:
            continue
        is_whole = np.array_equal(values, values.clip(-127, 127).round())
        small = values.astype(np.int8 if is_whole else np.float16)
        if np.array_equal(
            small.astype(np.float32), values
        ):  # true of weights rounded before; other constants stay as they are
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(small, f"{name}.{small.dtype}"))
            casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    for i, cast in enumerate(casts):
        model.graph.node.insert(i, cast)


def _strip(model: onnx.ModelProto) -> None:
    """Remove what describes the exporting machine: stack traces, file paths, documentation."""
    model.doc_string = model.graph.doc_string = ""
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    parts: list[Any] = [*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output]
    for part in parts:
        part.doc_string = ""
        del part.metadata_props[:]
