"""AlexNet (Krizhevsky, Sutskever & Hinton 2012), and a version for 64-pixel pictures."""

from __future__ import annotations

from torch import Tensor, nn

from fc7_models.networks.layers import ConvMaps, LocalResponseNorm, run_fully_connected
from fc7_models.networks.small import SmallNetwork


class AlexNet(nn.Module):
    """The network of 2012. Convolutions with two groups stand for its two towers.

    The input is (N, 3, 227, 227): the paper prints 224, but its 55 x 55 maps need 227 without padding.
    60,965,224 parameters with 1000 classes.

    References
    ----------
    Krizhevsky, Sutskever & Hinton 2012: layers section 3.5, normalisation 3.3,
    overlapping pooling 3.4, dropout 4.2, initialisation section 5.
    """

    def __init__(self, n_classes: int = 1000, *, maps: ConvMaps = (96, 256, 384, 384, 256), units: int = 4096) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, maps[0], 11, stride=4)
        self.norm1 = LocalResponseNorm(maps[0])
        self.conv2 = nn.Conv2d(maps[0], maps[1], 5, padding=2, groups=2)
        self.norm2 = LocalResponseNorm(maps[1])
        self.conv3 = nn.Conv2d(maps[1], maps[2], 3, padding=1)
        self.conv4 = nn.Conv2d(maps[2], maps[3], 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(maps[3], maps[4], 3, padding=1, groups=2)
        self.pool = nn.MaxPool2d(3, stride=2)
        self.fc6 = nn.Linear(maps[4] * 6 * 6, units)
        self.fc7 = nn.Linear(units, units)
        self.norm6 = self.norm7 = nn.Identity()
        self.fc8 = nn.Linear(units, n_classes)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(0.5)
        with_bias_one = {self.conv2, self.conv4, self.conv5, self.fc6, self.fc7}
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                bias = 1.0 if module in with_bias_one else 0.0
                nn.init.constant_(module.bias, bias)  # type: ignore[arg-type]  # each has one

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the named layers of ``x`` (N, 3, 227, 227), after ReLU."""
        x = self.pool(self.norm1(self.relu(self.conv1(x))))  # (N, 96, 27, 27)
        x = self.pool(self.norm2(self.relu(self.conv2(x))))  # (N, 256, 13, 13)
        x = self.relu(self.conv3(x))
        x = self.relu(self.conv4(x))
        conv5 = self.relu(self.conv5(x))
        pool5 = self.pool(conv5)  # (N, 256, 6, 6)
        return run_fully_connected(self, conv5, pool5)


class AlexNet64(SmallNetwork):
    """AlexNet at the scale of 64-pixel pictures: 5 x 5 filters first, applied at every second pixel.

    188 million multiply-adds for a picture of 64 x 64 pixels.
    """

    def __init__(self, n_classes: int = 200, *, maps: ConvMaps = (64, 160, 320, 256, 256), units: int = 1024) -> None:
        super().__init__(n_classes, maps=maps, units=units, kernels=(5, 5), strides=(2, 1))
