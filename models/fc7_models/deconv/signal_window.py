"""Write ONNX nodes for windows: the small part of a map in which a signal can differ from zero.

Around one unit this is a square. Its place differs from picture to picture, but its size does not, so that the way back
through five layers costs a fraction of the way forward.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from onnx import TensorProto

from fc7_models.deconv.graph_writer import GraphWriter
from fc7_models.deconv.layer_chain import Step

_WHOLE_FROM = 0.75  # share of the map's width from which the whole map is as fast as a window


@dataclass(frozen=True, slots=True)
class Window:
    """A square of a map. Its first row is ``row * stride + offset``; for columns likewise."""

    row: str  # int64 (N, 1), row of the unit in its own map
    column: str
    size: int = 1
    stride: int = 1
    offset: int = 0

    def before(self, step: Step) -> Window:
        """Return the window of the step's input that this window of its output depends on."""
        size = (self.size - 1) * step.stride + step.kernel
        offset = self.offset * step.stride - step.pads[0]
        return replace(self, size=size, stride=self.stride * step.stride, offset=offset)


@dataclass(frozen=True, slots=True)
class Signal:
    """The signal at a tensor: in the shape of the tensor, or float32 (N, C, size, size) in a window of it."""

    values: str
    window: Window | None = None


@dataclass(frozen=True, slots=True)
class WindowWriter:
    """Writes the nodes that cut and place windows. ``shape`` is (C, H, W) of a map at the recipe's size."""

    graph: GraphWriter

    @staticmethod
    def covers(window: Window, shape: tuple[int, ...]) -> bool:
        """Return whether a window is so large that the whole map is used instead."""
        return window.size >= _WHOLE_FROM * shape[1]

    def settle(self, signal: Signal, tensor: str, shape: tuple[int, ...]) -> Signal:
        """Set ``signal`` to zero outside the map, or place it in the whole map if the window covers most of it."""
        window = signal.window
        if window is None or self.covers(window, shape):
            return Signal(self.whole(signal, tensor, shape))
        graph = self.graph
        inside = []
        for axis, dims in ((2, [-1, 1, window.size, 1]), (3, [-1, 1, 1, window.size])):
            index = self._indices(window, axis)
            limit = graph.op("Shape", tensor, start=axis, end=axis + 1)
            is_in = graph.op("And", graph.op("Greater", index, graph.constant([-1])), graph.op("Less", index, limit))
            inside.append(graph.op("Reshape", is_in, graph.constant(dims)))
        return replace(signal, values=self._kept(signal.values, graph.op("And", *inside)))

    def whole(self, signal: Signal, tensor: str, shape: tuple[int, ...]) -> str:
        """Return ``signal`` in the shape of ``tensor``, with zeros outside its window."""
        graph, window = self.graph, signal.window
        if window is None:
            return signal.values
        picked = []
        for axis in (2, 3):
            n = graph.op("Shape", tensor, start=axis, end=axis + 1)
            every = graph.op("Range", graph.constant(0), graph.op("Squeeze", n), graph.constant(1))
            picked.append(graph.op("Sub", every, self._indices(replace(window, size=1), axis)))
        return self._pick(signal.values, shape[0], picked[0], picked[1], 0.0)

    def view(self, tensor: str, window: Window | None, shape: tuple[int, ...], fill: float = 0.0) -> str:
        """Return the part of ``tensor`` inside a window (None: all of it), with ``fill`` outside the map."""
        if window is None:
            return tensor
        return self._pick(tensor, shape[0], self._indices(window, 2), self._indices(window, 3), fill)

    def _indices(self, window: Window, axis: int) -> str:
        """Return the numbers of the rows (axis 2) or columns (axis 3) of a window, int64 (N, size)."""
        graph, unit = self.graph, window.row if axis == 2 else window.column
        first = graph.op("Mul", unit, graph.constant([window.stride]))
        return graph.op("Add", first, graph.constant(window.offset + np.arange(window.size)))

    def _pick(self, values: str, channels: int, rows: str, columns: str, fill: float) -> str:
        """Return ``values[n, :, rows[n, i], columns[n, j]]``, with ``fill`` for pixels outside the map."""
        graph = self.graph
        lines, inside, width = [], [], graph.op("Shape", values, start=3, end=4)
        for axis, index, dims in ((2, rows, [0, -1, 1]), (3, columns, [0, 1, -1])):
            last = graph.op("Sub", graph.op("Shape", values, start=axis, end=axis + 1), graph.constant([1]))
            near = graph.op("Max", graph.op("Min", index, last), graph.constant([0]))
            lines.append(graph.op("Reshape", near, graph.constant(dims)))
            inside.append(
                graph.op("Reshape", graph.op("Equal", near, index), graph.constant([*dims[:1], 1, *dims[1:]]))
            )
        places = graph.op("Add", graph.op("Mul", lines[0], width), lines[1])  # (N, h, w), in the flat map
        n_places = graph.op("Reshape", places, graph.constant([0, 1, -1]))
        each = graph.op("Expand", n_places, graph.constant([1, channels, 1]))
        flat = graph.op("Reshape", values, graph.constant([0, 0, -1]))
        taken = graph.op("GatherElements", flat, each, axis=2)
        size = graph.op("Shape", places, start=1, end=3)
        shaped = graph.op("Reshape", taken, graph.op("Concat", graph.constant([0, 0]), size, axis=0))
        is_in = graph.op("And", *inside)
        return graph.op("Where", is_in, shaped, graph.number(fill)) if fill else self._kept(shaped, is_in)

    def _kept(self, values: str, mask: str) -> str:
        """Return values where a mask is true, and 0 elsewhere. Mul takes a fifth of the time of Where."""
        return self.graph.op("Mul", values, self.graph.op("Cast", mask, to=TensorProto.FLOAT))
