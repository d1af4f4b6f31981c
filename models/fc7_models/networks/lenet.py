"""LeNet-5 (LeCun, Bottou, Bengio & Haffner 1998), the ancestor of the others."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# The maps of S2 that each map of C3 sees (table I of the paper).
_SEEN = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5),
)  # fmt: skip


class LeNet5(nn.Module):
    """The network of 1998 for pictures of 32 x 32 pixels, in colour.

    As in the paper: trainable subsampling, the partial connections of C3, the scaled hyperbolic tangent.

    Unlike in the paper:

    - the input has three colours, so that C1 has 456 parameters instead of 156;
    - a softmax replaces the distances to drawn digits;
    - initial weights follow "Efficient BackProp" (1998) by the same authors, which needs no second derivatives.

    References
    ----------
    LeCun, Bottou, Bengio & Haffner 1998, section II.B, figure 2, table I, appendix A.
    """

    mask: Tensor

    def __init__(self, n_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool2 = Subsample(6)
        self.conv3 = nn.Conv2d(6, 16, 5)
        self.pool4 = Subsample(16)
        self.conv5 = nn.Conv2d(16, 120, 5)
        self.fc6 = nn.Linear(120, 84)
        self.fc8 = nn.Linear(84, n_classes)
        mask = torch.zeros(16, 6, 1, 1)
        for i, seen in enumerate(_SEEN):
            mask[i, list(seen)] = 1
        self.register_buffer("mask", mask)
        for module in (self.conv1, self.conv3, self.conv5, self.fc6, self.fc8):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # each has one

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the named layers of ``x`` (N, 3, 32, 32), after squashing."""
        x = self.pool2(squash(self.conv1(x)))  # (N, 6, 14, 14)
        x = nn.functional.conv2d(x, self.conv3.weight * self.mask, self.conv3.bias)
        pool4 = self.pool4(squash(x))  # (N, 16, 5, 5)
        conv5 = squash(self.conv5(pool4)).flatten(1)  # (N, 120)
        fc6 = squash(self.fc6(conv5))
        return {"pool4": pool4, "conv5": conv5, "fc6": fc6, "logits": self.fc8(fc6)}


class Subsample(nn.Module):
    """Average 2 x 2 pixels, multiply by a trained weight, add a trained bias, squash."""

    def __init__(self, n_maps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_maps, 1, 1))
        self.bias = nn.Parameter(torch.zeros(n_maps, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` (N, C, H, W) at half its height and width."""
        return squash(nn.functional.avg_pool2d(x, 2) * self.weight + self.bias)


def squash(x: Tensor) -> Tensor:
    """Return 1.7159 tanh(2x / 3), which is 1 at 1 and bends most sharply there (appendix A of the paper)."""
    return 1.7159 * torch.tanh(x * (2 / 3))
