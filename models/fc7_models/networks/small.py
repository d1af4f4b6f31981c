"""The shape that AlexNet and ZFNet share at the scale of 64-pixel pictures."""

from __future__ import annotations

from torch import Tensor, nn

from fc7_models.networks.layers import (
    ConvMaps,
    GridMaxPool,
    batch_norm_without_scale,
    conv_norm_relu,
    run_fully_connected,
)


class SmallNetwork(nn.Module):
    """Five convolutions and three fully connected layers for small pictures.

    As in the papers, overlapping pooling follows the first two convolutions, the last three are 3 x 3, and two fully
    connected layers stand before the softmax. Unlike in the papers, the network is narrower, batch normalisation
    replaces LRN, and conv5 is pooled to a fixed 3 x 3 grid. It therefore takes any picture from 32 pixels up.

    Parameters
    ----------
    n_classes
        Number of logits.
    maps
        Number of maps of conv1 to conv5.
    units
        Number of units of fc6 and of fc7.
    kernels, strides
        Filter size and stride of conv1 and conv2.
    """

    def __init__(
        self, n_classes: int, *, maps: ConvMaps, units: int, kernels: tuple[int, int], strides: tuple[int, int]
    ) -> None:
        super().__init__()
        pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.conv1 = conv_norm_relu(3, maps[0], kernels[0], stride=strides[0], pool=pool)
        self.conv2 = conv_norm_relu(maps[0], maps[1], kernels[1], stride=strides[1], pool=pool)
        self.conv3 = conv_norm_relu(maps[1], maps[2], 3)
        self.conv4 = conv_norm_relu(maps[2], maps[3], 3)
        self.conv5 = conv_norm_relu(maps[3], maps[4], 3)
        self.pool5 = GridMaxPool(3)
        self.fc6 = nn.Linear(maps[4] * 3 * 3, units)
        self.norm6 = batch_norm_without_scale(units)
        self.fc7 = nn.Linear(units, units)
        self.norm7 = batch_norm_without_scale(units)
        self.fc8 = nn.Linear(units, n_classes)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the named layers of ``x`` (N, 3, H, W), after ReLU."""
        x = self.conv2(self.conv1(x))  # (N, 160, H / 8, W / 8)
        conv5 = self.conv5(self.conv4(self.conv3(x)))
        pool5 = self.pool5(conv5)  # (N, 256, 3, 3)
        return run_fully_connected(self, conv5, pool5)
