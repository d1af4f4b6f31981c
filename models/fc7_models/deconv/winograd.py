"""Write convolutions with 5 x 5 filters as ONNX nodes that need a fifth of the multiplications.

A tile of the output is a product of polynomials, which their values at a few points determine. Each tile is transformed
to its values at these points, multiplied there by the filters, and transformed back. The filters are transformed once,
when the graph is loaded.

References
----------
Winograd 1980, Arithmetic Complexity of Computations; Lavin & Gray 2016, Fast Algorithms for Convolutional Networks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fc7_models.deconv.graph_writer import GraphWriter

TAPS = 5  # rows and columns of a filter
_TILE = 4  # rows and columns of the output that are computed together
_SEEN = _TILE + TAPS - 1  # rows and columns of the input that a tile depends on; also the number of points
_POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)  # and infinity


def matrices() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the three transforms ``back`` (tile, points), ``forth`` (points, seen) and ``taps`` (points, taps).

    ``back @ ((taps @ f) * (forth @ x))`` is the correlation of ``x`` with the filter ``f``.
    """
    points = np.array(_POINTS)
    back, taps = np.zeros((_TILE, _SEEN)), np.zeros((_SEEN, TAPS))
    back[:, :-1] = points ** np.arange(_TILE)[:, None]
    taps[:-1] = points[:, None] ** np.arange(TAPS)
    taps[:-1] /= [[np.prod(point - np.delete(points, i))] for i, point in enumerate(points)]
    back[-1, -1] = taps[-1, -1] = 1
    # Output i depends on input j only through tap j - i. These linear equations determine the last matrix.
    pairs = (back[:, None] * taps.T).reshape(-1, _SEEN)
    wanted = np.array([np.eye(_SEEN)[i + tap] for i in range(_TILE) for tap in range(TAPS)])
    forth = (
        np.linalg.lstsq(pairs, wanted)[0].round(9) + 0.0
    )  # without negative zeros, every machine writes the same file
    return back, forth, taps


def rotated_convolution(
    graph: GraphWriter, values: str, filters: tuple[str, int, int], like: str, pads: tuple[int, int]
) -> str:
    """Return the transposed convolution of ``values``, for filters that were applied at stride 1.

    Parameters
    ----------
    values
        float32 (N, M, H', W'), the signal at the output of the convolution.
    filters
        Name, M and C of the filters, float32 (M, C, 5, 5), as in the forward pass.
    like
        The input of the convolution, (N, C, H, W). The result has its shape.
    pads
        Padding of the convolution, before and after.
    """
    _, maps, channels = filters
    back, forth, taps = matrices()
    at_points = _at_points(graph, filters, taps[:, ::-1])
    before, after = [TAPS - 1 - pads[0]] * 2, [_SEEN - 1 - pads[1]] * 2  # as far as the last tile reaches
    x = graph.op("Pad", graph.op("Transpose", values, perm=[2, 3, 0, 1]), graph.constant([*before, 0, 0, *after, 0, 0]))
    width = graph.op("Shape", x, start=1, end=2)
    places = graph.op("Add", graph.op("Mul", _lines(graph, like, 2), width), _lines(graph, like, 3))
    tiles = graph.op("Shape", places, start=2)  # number of rows and columns of tiles
    x, by = graph.op("Gather", graph.op("Flatten", x, axis=2), places, axis=0), graph.constant(forth, np.float32)
    x = graph.op("MatMul", by, graph.op("Reshape", x, graph.constant([_SEEN, -1])))
    x = graph.op("MatMul", by, graph.op("Reshape", x, graph.constant([_SEEN, _SEEN, -1])))
    x = graph.op(
        "Reshape", x, graph.op("Concat", graph.constant([_SEEN**2]), tiles, graph.constant([-1, maps]), axis=0)
    )
    x = graph.op("Reshape", graph.op("Transpose", x, perm=[3, 1, 2, 0, 4]), graph.constant([0, 0, 0, -1]))
    # One group per point. MatMul would first copy the filters and take 1.5 times as long for N = 1.
    y = graph.op("Conv", graph.op("Transpose", x, perm=[0, 3, 1, 2]), at_points, group=_SEEN**2)
    y = graph.op("Reshape", graph.op("Transpose", y, perm=[0, 2, 3, 1]), graph.constant([0, 0, 0, -1, channels]))
    y = graph.op(
        "MatMul", graph.constant(np.kron(back, back), np.float32), y
    )  # (N, rows and columns of tiles, pixels, C)
    y = graph.op("Reshape", y, graph.constant([0, 0, 0, _TILE, _TILE, channels]))
    size = graph.op(
        "Concat",
        graph.constant([0]),
        graph.op("Mul", tiles, graph.constant([_TILE])),
        graph.constant([channels]),
        axis=0,
    )
    y = graph.op("Reshape", graph.op("Transpose", y, perm=[0, 1, 3, 2, 4, 5]), size)
    y = graph.op("Slice", y, graph.constant([0, 0]), graph.op("Shape", like, start=2), graph.constant([1, 2]))
    return graph.op("Transpose", y, perm=[0, 3, 1, 2])


def _at_points(graph: GraphWriter, filters: tuple[str, int, int], taps: NDArray[np.float64]) -> str:
    """Return the filters (M, C, 5, 5) transformed to the points, float32 (points * points * C, M, 1, 1)."""
    weight, maps, channels = filters
    along_columns = graph.op("MatMul", weight, graph.constant(taps.T, np.float32))
    along_both = graph.op("MatMul", graph.constant(taps, np.float32), along_columns)
    by_point = graph.op("Transpose", along_both, perm=[2, 3, 1, 0])
    return graph.op("Reshape", by_point, graph.constant([_SEEN**2 * channels, maps, 1, 1]))


def _lines(graph: GraphWriter, like: str, axis: int) -> str:
    """Return the padded rows of each tile, int64 (seen, 1, tiles, 1), or the columns (axis 3), (1, seen, 1, tiles)."""
    size = graph.op("Squeeze", graph.op("Shape", like, start=axis, end=axis + 1))
    first = graph.op("Range", graph.constant(0), size, graph.constant(_TILE))
    tiles, seen = ([-1, 1], [_SEEN, 1, 1, 1]) if axis == 2 else ([1, -1], [1, _SEEN, 1, 1])
    return graph.op(
        "Add", graph.op("Reshape", first, graph.constant(tiles)), graph.constant(np.arange(_SEEN).reshape(seen))
    )
