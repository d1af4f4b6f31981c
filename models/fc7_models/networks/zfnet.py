"""ZFNet (Zeiler & Fergus 2013), and a version for 64-pixel pictures."""

from __future__ import annotations

from torch import Tensor, nn

from fc7_models.networks.layers import ConvMaps, LocalResponseNorm, run_fully_connected
from fc7_models.networks.small import SmallNetwork


class ZFNet(nn.Module):
    """The network of 2013: 7 x 7 filters at stride 2 first, no groups, pooling before normalisation.

    The input is (N, 3, 224, 224). The printed map sizes 110, 55, 26, 13, 6 follow if pooling rounds sizes up
    (``ceil_mode``). The paper prints no constants for the contrast normalisation; these are AlexNet's.
    62,357,608 parameters with 1000 classes.

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


class ZFNet64(SmallNetwork):
    """ZFNet at the scale of 64-pixel pictures.

    Compared with ``AlexNet64``, the first filters are smaller (3 x 3) and applied at every pixel; conv2 has stride 2.
    190 million multiply-adds for a picture of 64 x 64 pixels.
    """

    def __init__(self, n_classes: int = 200, *, maps: ConvMaps = (64, 160, 320, 256, 256), units: int = 1024) -> None:
        super().__init__(n_classes, maps=maps, units=units, kernels=(3, 5), strides=(1, 2))
