"""Add an int8 form to a bundle: static quantisation, calibrated on pictures, with its cost measured."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from fc7.errors import AlreadyExists
from fc7_models.data.dataset import Dataset, read_dataset
from fc7_models.data.inference import Report, RunGraph, group_by_recipe, open_graph, open_model, read_batches
from fc7_models.deconv.onnx_graph import OnnxGraph, ancestors
from fc7_models.export.golden_images import read_golden_inputs
from fc7_models.export.int8_fidelity import Cost, LayerFidelity, compare_with_int8
from fc7_models.export.layer_pooling import HALF_SIZE_POOL5
from fc7_models.export.pack_bundle import check_output
from fc7_service.bundle.bundle import CARD, INT8_GOLDEN, INT8_MODEL, Bundle
from fc7_service.bundle.disk import new_folder
from fc7_service.bundle.folder import open_bundle, write_bundle

N_CALIBRATION = 500  # pictures: five whole batches
N_COMPARED = 1000
FIDELITY = 0.999  # mean cosine to fp32 that each layer should reach
_MOST_FP32 = 2  # of the first convolutions, at most this many stay in fp32 to reach it
_OPERATORS = {"Conv", "Gemm", "MatMul", "Relu", "Clip", "MaxPool"}
_SQUARES = {"Mul", "Pow"}  # these come before the convolution of a local response normalisation, which stays in fp32
_CARD = """
## int8

Served as `{name}.int8`. Weights have 7 bits and one scale per output channel. Activations have 8 bits and are
calibrated on {n_calibration} pictures of {data}. Of the first convolutions, {n_fp32} stay in fp32. Compared with fp32
on {count} other pictures:

| layer | cosine to fp32, mean | smallest |
|---|---|---|
{layers}

| | fp32 | int8 |
|---|---|---|
{costs}
"""


@dataclass(frozen=True, slots=True)
class Quantised:
    """A bundle with an int8 form, compared with fp32."""

    bundle: Bundle
    count: int  # pictures compared
    layers: list[LayerFidelity]
    costs: list[Cost]


def quantise_bundle(name: str, folder: Path, output: Path, report: Report) -> Quantised:
    """Write a copy of a bundle with an int8 form added.

    The fp32 form does not change, so that its features and collections stay valid. If a layer does not reach
    ``FIDELITY``, the first convolution stays in fp32, and then the first two: they are the most sensitive.

    Parameters
    ----------
    name
        Name of a shipped model, or the folder of a bundle.
    folder
        See ``read_dataset``. Pictures of ``train`` calibrate, pictures of ``val`` are compared. Accuracy is measured if
        all labels are classes of the network.
    output
        Folder of the new bundle; must not exist.
    report
        Called with the number of pictures compared and their total.

    Raises
    ------
    AlreadyExists
        ``output`` exists, or the bundle already has an int8 form.
    NotFound, InvalidArgument
        The bundle or the folder does not exist, or the folder lacks one of the two splits.
    ImageDecodeError, FailedPrecondition
        A picture is damaged or cannot be read. The message names it.
    """
    bundle = open_model(name)
    check_output(output, bundle.name)
    if INT8_MODEL in bundle.files:
        raise AlreadyExists(f"bundle {bundle.name!r} already has an int8 form, served as {bundle.name}.int8", name=name)
    training, others = _sample(read_dataset(folder, "train"), N_CALIBRATION), read_dataset(folder, "val")
    for n_fp32 in range(_MOST_FP32 + 1):
        graph = quantise_graph(bundle, training.paths, n_fp32)
        layers, costs = compare_with_int8(bundle, graph, _sample(others, N_COMPARED), report)
        if min(one.cosine for one in layers) >= FIDELITY:
            break
    count = min(len(others.paths), N_COMPARED)
    card = bundle.card() + _CARD.format(
        name=bundle.name,
        n_calibration=len(training.paths),
        n_fp32=n_fp32,
        data=folder.resolve().name,
        count=count,
        layers="\n".join(f"| {one.layer} | {one.cosine:.5f} | {one.least:.5f} |" for one in layers),
        costs="\n".join(f"| {one.what} | {one.fp32:.4g} | {one.int8:.4g} |" for one in costs),
    )
    return Quantised(_write(bundle, graph, card, output), count, layers, costs)


def quantise_graph(bundle: Bundle, paths: Sequence[Path], n_fp32: int = 0) -> bytes:
    """Return the ONNX file of the int8 form, calibrated on pictures.

    The operators that lead to the logits compute in integers; other layers are computed from their results in fp32.
    Weights have 7 bits, because processors without VNNI add products of 8-bit numbers in 16 bits, which would overflow.
    The range of an activation is the mean, over batches of 100 pictures, of the smallest and the largest value. One
    unusual picture therefore does not coarsen the steps.

    Parameters
    ----------
    bundle
        Its fp32 form is quantised.
    paths
        Pictures to calibrate with.
    n_fp32
        Number of first convolutions that stay in fp32.

    References
    ----------
    Jacob et al. 2018, arXiv 1712.05877.
    """
    model = onnx.load_from_string(bundle.graph())
    integer = _integer_nodes(model, n_fp32)
    _store_fp32(model.graph, integer)
    add_pre_process_metadata(model)  # otherwise the quantiser asks for a step that does not support dynamic sizes
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / INT8_MODEL
        quantize_static(
            model,
            file,
            _Pictures(bundle, paths, model.graph.input[0].name),
            nodes_to_quantize=[node.name for node in integer],
            op_types_to_quantize=sorted(_OPERATORS),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"CalibMovingAverage": True},
        )
        return file.read_bytes()


class _Pictures:
    """The calibration pictures, at each size at which the network sees them."""

    def __init__(self, bundle: Bundle, paths: Sequence[Path], name: str) -> None:
        self._batches = (
            {name: inputs}
            for recipe in group_by_recipe(bundle, bundle.layers)
            for inputs in read_batches(paths, recipe, lambda done, total: None)
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next batch, or None after the last one."""
        return next(self._batches, None)


def _sample(data: Dataset, n: int) -> Dataset:
    rows = np.sort(np.random.default_rng(0).permutation(len(data.paths))[:n])
    return Dataset(tuple(data.paths[i] for i in rows), tuple(data.labels[i] for i in rows), data.names)


def _store_fp32(graph: onnx.GraphProto, integer: Sequence[onnx.NodeProto]) -> None:
    """Name all nodes, and store the weights of ``integer`` nodes in fp32, as the quantiser requires."""
    for i, node in enumerate(graph.node):
        node.name = node.name or f"{node.op_type}_{i}"
    read = {name for node in integer for name in node.input}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    casts = [node for node in graph.node if node.op_type == "Cast" and node.input[0] in weights]
    for cast in [cast for cast in casts if cast.output[0] in read]:
        values = numpy_helper.to_array(weights[cast.input[0]]).astype(np.float32)
        weights[cast.input[0]].CopyFrom(numpy_helper.from_array(values, cast.output[0]))
        graph.node.remove(cast)


def _integer_nodes(model: onnx.ModelProto, n_fp32: int) -> list[onnx.NodeProto]:
    """Return the nodes to compute in integers.

    These lead to the logits, or to the last layer of a network without logits, or to what ``conv5_pooled`` and
    ``conv5_gem`` take from the picture at half its size, which the same filters see.
    """
    graph = OnnxGraph(model)
    filters = list(dict.fromkeys(node.input[1] for node in graph.nodes if node.op_type == "Conv"))

    def is_fp32(convolution: onnx.NodeProto) -> bool:
        maker = graph.makers.get(convolution.input[0])
        return convolution.input[1] in filters[:n_fp32] or (maker is not None and maker.op_type in _SQUARES)

    last = "logits" if "logits" in graph.outputs else graph.outputs[-1]
    nodes = [node for node in ancestors(graph.nodes, [last, HALF_SIZE_POOL5]) if node.op_type in _OPERATORS]
    return [node for node in nodes if node.op_type != "Conv" or not is_fp32(node)]


def _write(bundle: Bundle, graph: bytes, card: str, output: Path) -> Bundle:
    """Write the copy of a bundle with its int8 form, in one step."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(output, output.parent) as folder:
        for file in bundle.files:
            shutil.copyfile(bundle.path / file, folder / file)
        (folder / INT8_MODEL).write_bytes(graph)
        (folder / CARD).write_text(card, encoding="utf-8")
        outputs: dict[str, Any] = dict(_golden_outputs(bundle, open_graph(graph)))
        np.savez_compressed(folder / INT8_GOLDEN, **outputs)
        write_bundle(
            folder,
            name=bundle.name,
            network=bundle.network,
            layers=list(bundle.layers.values()),
            recipe=bundle.recipe,
            versions=bundle.versions,
            default_layer=bundle.default_layer,
            recommended=bundle.recommended,
        )
    return open_bundle(output)


def _golden_outputs(bundle: Bundle, run: RunGraph) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for layer, inputs in read_golden_inputs(bundle):
        (values,) = run(inputs, [layer])
        yield layer, values.reshape(len(values), -1)
