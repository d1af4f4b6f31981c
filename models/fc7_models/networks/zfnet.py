"""ZFNet (Zeiler & Fergus 2013) and its form for 64-pixel pictures."""

from __future__ import annotations

from torch import Tensor, nn

from fc7_models.networks.layers import (
    ConvMaps,
    GridMaxPool,
    LocalResponseNorm,
    batch_norm_without_scale,
    conv_norm_relu,
    run_fully_connected,
)


class ZFNet(nn.Module):
    """The network of 2013: 7x7 filters at stride 2 first, no groups, pool then norm.

    Input (N, 3, 224, 224). The printed map sizes 110, 55, 26, 13, 6 follow from
    pooling that rounds up (``ceil_mode``). The paper prints no constants for the
    contrast normalisation; these are AlexNet's. 62,357,608 parameters with 1000
    classes.

    References
    ----------
    Zeiler & Fergus 2013 (arXiv 1311.2901), figure 3; section 3 for training.
    """

    def __init__(self, n_classes: int = 1000, *, maps: ConvMaps = (96, 256, 384, 384, 256), units: int = 4096) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, maps[0], 7, stride=2, padding=1)
        self.norm1 = LocalResponseNorm(maps[0])
        self.conv2 = nn.Conv2d(maps[0], maps[1], 5, stride=2)
        self.norm2 = LocalResponseNorm(maps[1])
        self.conv3 = nn.Conv2d(maps[1], maps[2], 3, padding=1)
        self.conv4 = nn.Conv2d(maps[2], maps[3], 3, padding=1)
        self.conv5 = nn.Conv2d(maps[3], maps[4], 3, padding=1)
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.fc6 = nn.Linear(maps[4] * 6 * 6, units)
        self.fc7 = nn.Linear(units, units)
        self.norm6 = self.norm7 = nn.Identity()
        self.fc8 = nn.Linear(units, n_classes)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(0.5)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # each has one

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the named layers of ``x`` (N, 3, 224, 224), after ReLU."""
        x = self.norm1(self.pool(self.relu(self.conv1(x))))  # (N, 96, 55, 55)
        x = self.norm2(self.pool(self.relu(self.conv2(x))))  # (N, 256, 13, 13)
        x = self.relu(self.conv3(x))
        x = self.relu(self.conv4(x))
        conv5 = self.relu(self.conv5(x))
        pool5 = self.pool(conv5)  # (N, 256, 6, 6)
        return run_fully_connected(self, conv5, pool5)


class ZFNet64(nn.Module):
    """ZFNet's changes at the scale of 64-pixel pictures.

    Against ``AlexNet64``: smaller first filters (3x3 in place of 5x5) applied at
    every pixel instead of every second, and a second layer of stride 2.
    190 million multiply-adds for a picture of 64 x 64 pixels.
    """

    def __init__(self, n_classes: int = 200, *, maps: ConvMaps = (64, 160, 320, 256, 256), units: int = 1024) -> None:
        super().__init__()
        pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.conv1 = conv_norm_relu(3, maps[0], 3, pool=pool)
        self.conv2 = conv_norm_relu(maps[0], maps[1], 5, stride=2, pool=pool)
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
