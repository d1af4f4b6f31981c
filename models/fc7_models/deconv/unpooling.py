"""Write the way back through max-pooling as ONNX nodes.

The maximum of a window is the largest of the maxima of its rows, and the first row with this value holds the first
maximum. The maps are therefore pooled along columns, then along rows, and compared with the result each time. This
takes half the time of MaxPool with indices and a scatter in ONNX Runtime, which look at one pixel after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
from onnx import TensorProto

from fc7_models.deconv.graph_writer import GraphWriter
from fc7_models.deconv.layer_chain import Step

LOWEST = float(np.finfo(np.float32).min)
_ROWS, _COLUMNS = 1, 2  # axes: with channels last, slices are contiguous in memory
_TO_END = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Unpooling:
    """Brings signals back through one max-pooling, to the maxima. Of equal ones the first in row order counts."""

    graph: GraphWriter
    step: Step

    def write(self, seen: str, signal: str, border: int) -> str:
        """Return a map with each value of the signal at its maximum, zero elsewhere. Values that meet add up.

        Parameters
        ----------
        seen
            float32 (N, C, H, W), the input of the pooling.
        signal
            float32 (N, C, H', W'), the signal at its output. The result has the shape of ``seen``.
        border
            How many lines of the first window lie before the map.
        """
        graph, stride = self.graph, self.step.stride
        values, signal = (graph.op("Transpose", tensor, perm=[0, 2, 3, 1]) for tensor in (seen, signal))
        n_lines, n_windows = (graph.op("Shape", tensor, start=1, end=3) for tensor in (values, signal))
        # Pad so far that each tap (see `_cut`) has a line for every window.
        n_wanted = graph.op(
            "Mul", graph.op("Add", n_windows, graph.constant([self._overlap])), graph.constant([stride])
        )
        after = graph.op("Sub", n_wanted, graph.op("Add", n_lines, graph.constant([border])))
        pads = graph.op("Concat", graph.constant([0, border, border, 0, 0]), after, graph.constant([0]), axis=0)
        added = self._back(graph.op("Pad", values, pads, graph.number(LOWEST)), signal, (_COLUMNS, _ROWS))
        return graph.op("Transpose", graph.op("Pad", added, graph.op("Neg", pads)), perm=[0, 3, 1, 2])

    @property
    def _overlap(self) -> int:
        """Number of later windows that contain the last line of a window."""
        return (self.step.kernel - 1) // self.step.stride

    def _back(self, values: str, signal: str, axes: Sequence[int]) -> str:
        """Bring ``signal`` back to the maxima of ``values``, along one axis after the other."""
        if not axes:
            return signal
        graph, axis = self.graph, axes[0]
        taps = [self._cut(values, first, axis) for first in range(0, self.step.kernel, self.step.dilation)]
        best = reduce(partial(graph.op, "Max"), taps)
        rest, parts = self._back(best, signal, axes[1:]), []
        for tap in taps[:-1]:
            is_best = graph.op("Cast", graph.op("Equal", tap, best), to=TensorProto.FLOAT)
            parts.append(graph.op("Mul", rest, is_best))
            rest = graph.op("Sub", rest, parts[-1])
        return graph.op("Reshape", self._join([*parts, rest], axis), graph.op("Shape", values))

    def _cut(self, values: str, first: int, axis: int) -> str:
        """Return a tap: line ``first`` of every window, along ``axis``."""
        stop = first - self._overlap * self.step.stride
        bounds = (first, stop if stop < 0 else _TO_END, axis, self.step.stride)
        return self.graph.op("Slice", values, *(self.graph.constant([i]) for i in bounds))

    def _join(self, parts: Sequence[str], axis: int) -> str:
        """Put the lines that `_cut` took back in order along ``axis``, and add them where windows overlap."""
        graph = self.graph
        phases: list[list[str]] = [[] for _ in range(self.step.stride)]
        for i, part in enumerate(parts):
            n_later, phase = divmod(i * self.step.dilation, self.step.stride)
            pads = np.zeros((2, 4), np.int64)
            pads[:, axis] = n_later, self._overlap - n_later
            phases[phase].append(graph.op("Pad", part, graph.constant(pads.ravel())))
        added = [
            reduce(partial(graph.op, "Add"), lines) if lines else graph.filled(graph.op("Shape", phases[0][0]))
            for lines in phases
        ]
        return graph.op("Concat", *added, axis=axis + 1)
