"""The layers that several networks share."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

ConvMaps = tuple[int, int, int, int, int]  # number of maps of conv1 to conv5


class LocalResponseNorm(nn.Module):
    """Divide every activation by the energy of the maps around its own.

    ``b_i = a_i / (k + alpha * sum_j a_j ** 2) ** 0.75``, where j runs over the ``n`` maps around map i. At the first
    and the last maps the sum has fewer terms. ``alpha`` multiplies the *sum*, as the paper prints it;
    ``torch.nn.LocalResponseNorm`` multiplies the mean, so that ``alpha=5e-4`` there means the same.

    The sum is a 1 x 1 convolution of the squares with a banded matrix, and ``s ** 0.75 == sqrt(s) * sqrt(sqrt(s))``:
    ONNX Runtime computes these operators faster than its LRN operator.

    It always runs in fp32. In bf16 the divisor, which is 2 and a little more, would take only a handful of values.

    References
    ----------
    Krizhevsky, Sutskever & Hinton 2012, section 3.3.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, n_maps: int, *, n: int = 5, alpha: float = 1e-4, k: float = 2.0) -> None:
        super().__init__()
        index = torch.arange(n_maps)
        band = (index[:, None] - index[None, :]).abs() <= n // 2
        self.register_buffer("weight", alpha * band.float()[:, :, None, None])  # (C, C, 1, 1)
        self.register_buffer("bias", torch.full((n_maps,), k))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` (N, C, H, W) across C."""
        device = x.device.type
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                return self(x.float())
        root = torch.nn.functional.conv2d(x * x, self.weight, self.bias).sqrt()
        return x / (root * root.sqrt())


class GridMaxPool(nn.Module):
    """Take the maximum of each cell of a ``grid`` x ``grid``, whatever the size of the map.

    The cells are those of ``torch.nn.AdaptiveMaxPool2d``: rows ``floor(i * H / grid)`` to
    ``ceil((i + 1) * H / grid)``. They are cut with slices, so that the exported graph takes any H and W.
    """

    def __init__(self, grid: int) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``x`` (N, C, H, W) to (N, C, grid, grid)."""
        if self.training:
            return torch.nn.functional.adaptive_max_pool2d(x, self.grid)
        for axis in (2, 3):
            size, cells = x.shape[axis], []
            for i in range(self.grid):
                start = i * size // self.grid
                stop = ((i + 1) * size + self.grid - 1) // self.grid
                cells.append(x.narrow(axis, start, stop - start).amax(axis, keepdim=True))
            x = torch.cat(cells, axis)
        return x


def conv_norm_relu(
    n_in: int, n_out: int, kernel: int, *, stride: int = 1, pool: nn.Module | None = None
) -> nn.Sequential:
    """Return convolution with "same" padding, ``pool`` if given, batch normalisation without a scale, and ReLU.

    With pooling first, normalisation and ReLU handle a quarter of the values. Both are increasing functions, because
    the scale is not learnt, so that they commute with the maximum. Folded for inference, the block is convolution,
    ReLU, pooling, which is the order of the papers.
    """
    conv = nn.Conv2d(n_in, n_out, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    norm = nn.BatchNorm2d(n_out)
    norm.weight.requires_grad_(False)
    return nn.Sequential(conv, *([pool] if pool else []), norm, nn.ReLU(inplace=True))


def batch_norm_without_scale(units: int) -> nn.BatchNorm1d:
    """Return batch normalisation without a learnt scale, for a fully connected layer."""
    norm = nn.BatchNorm1d(units)
    norm.weight.requires_grad_(False)
    return norm


def batch_normed_layers(module: nn.Module) -> list[tuple[str, str]]:
    """Return the names of the fully connected layers with batch normalisation, each with the name of that."""
    names = [(f"fc{n}", f"norm{n}") for n in (6, 7)]
    return [(layer, norm) for layer, norm in names if isinstance(getattr(module, norm, None), _BatchNorm)]


class FullyConnected(Protocol):
    """A network's last three layers."""

    fc6: nn.Linear
    fc7: nn.Linear
    fc8: nn.Linear
    dropout: nn.Dropout

    @property
    def norm6(self) -> nn.Module:
        """What stands between fc6 and its ReLU."""

    @property
    def norm7(self) -> nn.Module:
        """What stands between fc7 and its ReLU."""


def run_fully_connected(network: FullyConnected, conv5: Tensor, pool5: Tensor) -> dict[str, Tensor]:
    """Run fc6, fc7 and fc8 of ``network`` on pool5; return the five named layers.

    fc6 and fc7 are returned after ReLU and before dropout.
    """
    fc6 = network.norm6(network.fc6(pool5.flatten(1))).relu()
    fc7 = network.norm7(network.fc7(network.dropout(fc6))).relu()
    logits = network.fc8(network.dropout(fc7))
    return {"conv5": conv5, "pool5": pool5, "fc6": fc6, "fc7": fc7, "logits": logits}
