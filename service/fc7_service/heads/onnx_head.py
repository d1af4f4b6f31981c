"""A network and a head as one ONNX file."""

from __future__ import annotations

from fc7_service.bundle.onnx_file import cut_graph
from fc7_service.bundle.onnx_writer import Node, write_fragment
from fc7_service.heads.classifier import SoftmaxLayer

OUTPUT = "probabilities"


def join_head(graph: bytes, layer: str, head: SoftmaxLayer) -> bytes:
    """Return an ONNX file that computes the probabilities (N, C) of images.

    Parameters
    ----------
    graph
        ONNX file of the network.
    layer
        The tensor that the head takes, (N, ...).
    head
        The head.

    Raises
    ------
    FailedPrecondition
        The graph has no such tensor.
    """
    names = ("flat", "centred", "standardised", "products", "logits", "calibrated")
    flat, centred, standardised, products, logits, calibrated = (f"head/{name}" for name in names)
    weights = {
        "head/mean": head.mean,
        "head/scale": head.scale,
        "head/weights": head.weights,
        "head/bias": head.bias,
        "head/temperature": head.temperature,
    }
    nodes = [
        Node("Flatten", [layer], flat),
        Node("Sub", [flat, "head/mean"], centred),
        Node("Div", [centred, "head/scale"], standardised),
        Node("MatMul", [standardised, "head/weights"], products),
        Node("Add", [products, "head/bias"], logits),
        Node("Div", [logits, "head/temperature"], calibrated),
        Node("Softmax", [calibrated], OUTPUT),
    ]
    return cut_graph(graph + write_fragment(nodes, weights), [OUTPUT])
