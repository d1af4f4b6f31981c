"""Write nodes that are appended to an existing ONNX graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from onnx import ModelProto, TensorProto, helper, numpy_helper

PREFIX = "deconv/"  # of the names of all tensors except outputs


class GraphWriter:
    """Collects nodes and constants. A repeated operation or constant is written once.

    Attributes
    ----------
    model
        Nodes, constants, inputs and outputs only: no operator set, no version, no weights.
    """

    def __init__(self) -> None:
        self.model = ModelProto()
        self._known: dict[object, list[str]] = {}

    def op(self, kind: str, *inputs: str, pick: int = 0, **attributes: Any) -> str:
        """Write an operation; return the name of its output number ``pick``."""
        key = (kind, inputs, pick, repr(sorted(attributes.items())))
        if key not in self._known:
            outputs = [f"{PREFIX}{len(self._known)}" + f".{i}" * (i < pick) for i in range(pick + 1)]
            self.model.graph.node.append(helper.make_node(kind, inputs, outputs, **attributes))
            self._known[key] = outputs
        return self._known[key][pick]

    def constant(self, values: ArrayLike, dtype: type[np.generic] = np.int64) -> str:
        """Write a small constant; return its name."""
        array = np.asarray(values, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = [f"{PREFIX}{len(self._known)}"]
            self.model.graph.initializer.append(numpy_helper.from_array(array, self._known[key][0]))
        return self._known[key][0]

    def number(self, value: float) -> str:
        """Write a float32 scalar; return its name."""
        return self.constant(value, np.float32)

    def filled(self, shape: str, value: float = 0.0) -> str:
        """Write a float32 tensor of a shape (an int64 tensor) filled with ``value``; return its name."""
        fill = numpy_helper.from_array(np.array([value], np.float32))
        return self.op("ConstantOfShape", shape, value=fill)

    def input(self, name: str, dtype: int, dims: list[str]) -> str:
        """Declare an input; return its name."""
        self.model.graph.input.append(helper.make_tensor_value_info(name, dtype, dims))
        return name

    def output(self, name: str, tensor: str, dtype: int = TensorProto.FLOAT) -> None:
        """Declare ``tensor`` as the output ``name``."""
        self.model.graph.node.append(helper.make_node("Identity", [tensor], [name]))
        self.model.graph.output.append(helper.make_tensor_value_info(name, dtype, None))

    def note(self, key: str, value: str) -> None:
        """Add a metadata property."""
        helper.set_model_props(self.model, {key: value})
