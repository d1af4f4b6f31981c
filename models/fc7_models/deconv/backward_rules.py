"""Write the way back through each kind of step, as ONNX nodes, by one of three rules.

The signal that a step receives is always zero outside its map.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from fc7_models.deconv.graph_writer import GraphWriter
from fc7_models.deconv.layer_chain import LayerChain, Step
from fc7_models.deconv.signal_window import Signal, WindowWriter
from fc7_models.deconv.unpooling import LOWEST, Unpooling
from fc7_models.deconv.winograd import TAPS, rotated_convolution

Rule = Literal["deconv", "gradient", "guided"]
RULES: tuple[Rule, ...] = ("deconv", "gradient", "guided")


@dataclass(frozen=True, slots=True)
class BackwardWriter:
    """Writes the way back by all three rules into one graph.

    In all methods ``shape`` is the shape of the step's input, (C, H, W) or (D,), at the recipe's size.
    """

    graph: GraphWriter
    chain: LayerChain
    windows: WindowWriter

    def step(self, step: Step, signal: Signal, rule: Rule, shape: tuple[int, ...]) -> Signal:
        """Bring ``signal`` from the output of ``step`` to its input."""
        graph, values = self.graph, signal.values
        match step.kind:
            case "relu":
                return self._relu(step, signal, rule, shape)
            case "conv":
                return self.windows.settle(self._conv(step, signal), step.input, shape)
            case "max_pool":
                return self._max_pool(step, signal, shape)
            case "lrn":
                return self._lrn(step, signal, shape) if rule == "gradient" else signal
            case "batch_norm":
                return replace(signal, values=graph.op("Mul", values, self._batch_norm_factor(step, shape)))
            case "permute":
                order = graph.constant(np.argsort(np.asarray(self.chain.constant(step.node.input[1]))))
                return replace(signal, values=graph.op("Gather", values, order, axis=1))
        values = self.windows.whole(signal, step.output, shape)
        match step.kind:
            case "dense":
                is_transposed = step.attribute("transB", 0)
                return Signal(graph.op("Gemm", values, step.node.input[1], transB=1 - is_transposed))
            case "flatten":
                return Signal(graph.op("Reshape", values, graph.op("Shape", step.input)))
            case "global_pool":
                n_pixels = graph.op(
                    "Cast", graph.op("Div", graph.op("Size", step.input), graph.op("Size", values)), to=1
                )
                mean = graph.op("Div", graph.op("Reshape", values, graph.constant([0, -1, 1, 1])), n_pixels)
                return Signal(graph.op("Expand", mean, graph.op("Shape", step.input)))
            case "mean_pool":
                return Signal(self._mean_pool(step, values, shape))
            case _:
                return Signal(self._grid_max_pool(step, values))

    def _relu(self, step: Step, signal: Signal, rule: Rule, shape: tuple[int, ...]) -> Signal:
        graph, values = self.graph, signal.values
        if rule != "deconv":
            is_on = graph.op("Greater", self.windows.view(step.output, signal.window, shape), graph.number(0))
            values = graph.op("Where", is_on, values, graph.number(0))
        return replace(signal, values=values if rule == "gradient" else graph.op("Relu", values))

    def _conv(self, step: Step, signal: Signal) -> Signal:
        """Convolve with the transposed filters. At stride 1 this is a convolution with rotated filters."""
        graph, window, weight = self.graph, signal.window, step.node.input[1]
        out, maps, k, _ = self.chain.shape(weight)
        reach = step.kernel - 1
        attributes = {"group": step.attribute("group", 1), "dilations": [step.dilation] * 2}
        before = window.before(step) if window else None
        is_rotated = step.stride == 1 and reach >= max(step.pads)
        is_plain = is_rotated and k == step.kernel and attributes["group"] == 1
        if window and before and is_plain and window.size**2 * (out + before.size**2) < before.size**2 * out:
            return Signal(self._products(weight, signal.values, window.size), before)
        if is_plain and not window and k == TAPS:
            return Signal(rotated_convolution(graph, signal.values, (weight, out, maps), step.input, step.pads))
        if is_rotated:
            first, last = (reach, reach) if window else (reach - step.pads[0], reach - step.pads[1])
            filters = self._rotated(weight, attributes["group"])
            return Signal(
                graph.op("Conv", signal.values, filters, pads=[first, first, last, last], **attributes), before
            )
        strides = [step.stride] * 2
        if window:
            return Signal(graph.op("ConvTranspose", signal.values, weight, strides=strides, **attributes), before)
        return Signal(self._fit_input(step, signal.values, weight, strides=strides, **attributes))

    def _products(self, weight: str, values: str, size: int) -> str:
        """Return the transposed convolution of a window of few pixels, (N, M, size, size), by filters (M, C, k, k).

        Every pixel is multiplied by every weight of the filters, and a matrix of zeros and ones adds the products where
        they belong. A convolution would multiply once for each pixel of the larger window that comes out.
        """
        graph = self.graph
        out, maps, k, _ = self.chain.shape(weight)
        after = size + k - 1
        taps = graph.op(
            "Reshape", graph.op("Transpose", weight, perm=[0, 2, 3, 1]), graph.constant([out, k * k * maps])
        )
        pixels = graph.op("Transpose", graph.op("Reshape", values, graph.constant([0, 0, -1])), perm=[0, 2, 1])
        products = graph.op("Reshape", graph.op("MatMul", pixels, taps), graph.constant([0, -1, maps]))
        one = graph.constant([[[a == i + t for t in range(k)] for i in range(size)] for a in range(after)], np.float32)
        rows = graph.op("Reshape", one, graph.constant([after, 1, size, 1, k, 1]))
        columns = graph.op("Reshape", one, graph.constant([1, after, 1, size, 1, k]))
        places = graph.op("Reshape", graph.op("Mul", rows, columns), graph.constant([after**2, -1]))
        added = graph.op("Transpose", graph.op("MatMul", places, products), perm=[0, 2, 1])
        return graph.op("Reshape", added, graph.constant([0, 0, after, after]))

    def _rotated(self, weight: str, group: int) -> str:
        """Return filters (M, C / group, k, k) rotated by 180 degrees, for the way back: (C, M / group, k, k)."""
        graph = self.graph
        out, maps, k, _ = self.chain.shape(weight)
        split = graph.op("Reshape", weight, graph.constant([group, out // group, maps, k, k]))
        swapped = graph.op("Transpose", split, perm=[0, 2, 1, 3, 4])
        joined = graph.op("Reshape", swapped, graph.constant([group * maps, out // group, k, k]))
        ends = graph.constant([np.iinfo(np.int64).min] * 2)
        return graph.op(
            "Slice", joined, graph.constant([-1, -1]), ends, graph.constant([2, 3]), graph.constant([-1, -1])
        )

    def _fit_input(self, step: Step, values: str, weight: str, **attributes: Any) -> str:
        """Return the transposed convolution in the shape of the input: padding cut off, unreached last lines added."""
        graph, first = self.graph, step.pads[0]
        room = [step.stride - 1] * 2
        whole = graph.op("ConvTranspose", values, weight, output_padding=room, **attributes)
        stop = graph.op("Add", graph.op("Shape", step.input, start=2), graph.constant([first]))
        return graph.op("Slice", whole, graph.constant([first] * 2), stop, graph.constant([2, 3]))

    def _max_pool(self, step: Step, signal: Signal, shape: tuple[int, ...]) -> Signal:
        """Unpool: put each value where its maximum was, and add values that meet."""
        window = signal.window
        before = window.before(step) if window else None
        if before and self.windows.covers(before, shape):
            return self._max_pool(step, Signal(self.windows.whole(signal, step.output, shape)), shape)
        seen = self.windows.view(step.input, before, shape, LOWEST)
        border = 0 if window else step.pads[0]
        return Signal(Unpooling(self.graph, step).write(seen, signal.values, border), before)

    def _mean_pool(self, step: Step, values: str, shape: tuple[int, ...]) -> str:
        graph = self.graph
        if step.kernel == 1 and step.stride == 1:
            return values
        share = graph.filled(graph.constant([shape[0], 1, step.kernel, step.kernel]), step.kernel**-2)
        return self._fit_input(step, values, share, strides=[step.stride] * 2, group=shape[0])

    def _batch_norm_factor(self, step: Step, shape: tuple[int, ...]) -> str:
        """Return the factor by which batch normalisation multiplies each map."""
        graph = self.graph
        variance = graph.op("Add", step.node.input[4], graph.number(step.attribute("epsilon", 1e-5)))
        factor = graph.op("Div", step.node.input[1], graph.op("Sqrt", variance))
        return graph.op("Reshape", factor, graph.constant([-1] + [1] * (len(shape) - 1)))

    def _lrn(self, step: Step, signal: Signal, shape: tuple[int, ...]) -> Signal:
        """Return the gradient of ``a * s ** -beta``, where ``s`` is a constant plus ``_band`` of the squares."""
        graph = self.graph
        a = self.windows.view(step.input, signal.window, shape)
        if step.inner:
            beta, bias = 0.75, graph.op("Reshape", step.inner[0].input[2], graph.constant([-1, 1, 1]))
        else:
            beta, bias = step.attribute("beta", 0.75), graph.number(step.attribute("bias", 1.0))
        s = graph.op("Add", self._band(step, graph.op("Mul", a, a), shape[0]), bias)
        direct = graph.op("Mul", signal.values, graph.op("Pow", s, graph.number(-beta)))
        shared = self._band(step, graph.op("Div", graph.op("Mul", direct, a), s), shape[0])
        around = graph.op("Mul", graph.op("Mul", a, shared), graph.number(2 * beta))
        return replace(signal, values=graph.op("Sub", direct, around))

    def _band(self, step: Step, values: str, channels: int) -> str:
        """Return alpha times the sum over the neighbouring maps."""
        graph = self.graph
        if step.inner:
            return graph.op("Conv", values, step.inner[0].input[1])
        size = step.attribute("size", 5)
        column = graph.op("Reshape", values, graph.constant([0, 1, channels, -1]))
        pads = [size // 2, 0, size // 2, 0]
        mean = graph.op("AveragePool", column, kernel_shape=[size, 1], pads=pads, count_include_pad=1)
        share = graph.op("Mul", mean, graph.number(step.attribute("alpha", 1e-4)))
        return graph.op("Reshape", share, graph.op("Shape", values))

    def _grid_max_pool(self, step: Step, values: str) -> str:
        """Unpool the cells of a grid. The graph computes their borders from the size of the map."""
        graph = self.graph
        grid = len(step.inner) // 2
        starts, spans, lines = [], [], []
        for cells in (step.inner[:grid], step.inner[grid:]):
            start = graph.op(
                "Reshape", graph.op("Concat", *(c.input[1] for c in cells), axis=0), graph.constant([-1, 1])
            )
            stop = graph.op(
                "Reshape", graph.op("Concat", *(c.input[2] for c in cells), axis=0), graph.constant([-1, 1])
            )
            span = graph.op("ReduceMax", graph.op("Sub", stop, start), keepdims=0)  # lines of the widest cell
            every = graph.op("Range", graph.constant(0), span, graph.constant(1))
            # A narrower cell repeats its last line; its first maximum stays where it is.
            line = graph.op("Min", graph.op("Add", start, every), graph.op("Sub", stop, graph.constant([1])))
            starts.append(start)
            spans.append(graph.op("Reshape", span, graph.constant([1])))
            lines.append(graph.op("Reshape", line, graph.constant([-1])))
        seen = graph.op("Gather", graph.op("Gather", step.input, lines[0], axis=2), lines[1], axis=3)
        n = graph.constant([grid])
        cut = graph.op("Reshape", seen, graph.op("Concat", graph.constant([0, 0]), n, spans[0], n, spans[1], axis=0))
        cells_flat = graph.op(
            "Reshape", graph.op("Transpose", cut, perm=[0, 1, 2, 4, 3, 5]), graph.constant([0, 0, 0, 0, -1])
        )
        best = graph.op("ArgMax", cells_flat, axis=4, keepdims=0)  # (N, C, grid, grid), position within its cell
        row = graph.op("Add", graph.op("Div", best, spans[1]), starts[0])
        column = graph.op("Add", graph.op("Mod", best, spans[1]), graph.op("Reshape", starts[1], graph.constant([-1])))
        where = graph.op("Add", graph.op("Mul", row, graph.op("Shape", step.input, start=3, end=4)), column)
        by_map = graph.constant([0, 0, -1])
        size = graph.op("Shape", step.input)
        added = graph.op(
            "ScatterElements", graph.op("Reshape", graph.filled(size), by_map), graph.op("Reshape", where, by_map),
            graph.op("Reshape", values, by_map), axis=2, reduction="add",
        )  # fmt: skip
        return graph.op("Reshape", added, size)
