"""The networks are those of the papers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fc7.errors import NotFound
from fc7_models.networks import NETWORKS, find_network
from fc7_models.networks.layers import GridMaxPool, LocalResponseNorm
from fc7_models.networks.lenet import squash


def n_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("name", "count"), [("alexnet", 60_965_224), ("zfnet", 62_357_608)])
def test_parameter_counts_of_the_papers(name: str, count: int) -> None:
    with torch.device("meta"):
        assert n_parameters(find_network(name).build(1000)) == count


@pytest.mark.parametrize(
    ("name", "sizes"), [("alexnet", (13, 6)), ("zfnet", (13, 6)), ("alexnet-64", (8, 3)), ("zfnet-64", (8, 3))]
)
def test_map_sizes(name: str, sizes: tuple[int, int]) -> None:
    network = find_network(name)
    px = network.recipe.crop_px
    module = network.build(10).eval()
    with torch.inference_mode():
        layers = module(torch.zeros(1, 3, px, px))
    assert list(layers) == ["conv5", "pool5", "fc6", "fc7", "logits"]
    assert layers["conv5"].shape[1:] == (256, sizes[0], sizes[0])
    assert layers["pool5"].shape[1:] == (256, sizes[1], sizes[1])
    assert layers["logits"].shape == (1, 10)


def test_lenet_is_that_of_1998() -> None:
    """Figure 2 and table I: 12, 1,516, 32, 48,120 and 10,164 trained numbers in S2, C3, S4, C5, F6."""
    module = find_network("lenet-5").build(10).eval()
    parts = [module.pool2, module.conv3, module.pool4, module.conv5, module.fc6]
    missing = int((module.mask == 0).sum()) * 25  # connections that C3 does without
    assert [n_parameters(part) - (missing if part is module.conv3 else 0) for part in parts] == [
        12, 1516, 32, 48_120, 10_164,
    ]  # fmt: skip
    with torch.inference_mode():
        layers = module(torch.randn(2, 3, 32, 32))
    assert {k: tuple(v.shape[1:]) for k, v in layers.items()} == {
        "pool4": (16, 5, 5), "conv5": (120,), "fc6": (84,), "logits": (10,),
    }  # fmt: skip
    assert squash(torch.tensor([1.0, -1.0])).tolist() == pytest.approx([1, -1], abs=1e-4)
    x = torch.randn(1, 3, 32, 32, requires_grad=True)
    unseen = module.conv3.weight.detach()[0, 5]  # the first map of C3 sees the first three of S2
    assert unseen.abs().max() > 0
    module(x)["logits"].sum().backward()
    assert module.conv3.weight.grad[0, 5].abs().max() == 0


def test_first_maps_of_both_papers() -> None:
    """55 after conv1 of AlexNet; 110, 55, 26 in ZFNet's figure 3."""
    alexnet, zfnet = find_network("alexnet").build(2), find_network("zfnet").build(2)
    with torch.inference_mode():
        assert alexnet.conv1(torch.zeros(1, 3, 227, 227)).shape[2:] == (55, 55)
        conv1 = zfnet.conv1(torch.zeros(1, 3, 224, 224))
        assert conv1.shape[2:] == (110, 110)
        pool1 = zfnet.pool(conv1)
        assert pool1.shape[2:] == (55, 55)
        assert zfnet.conv2(pool1).shape[2:] == (26, 26)


def test_initialisation_of_2012() -> None:
    """K12 section 5: weights N(0, 0.01), biases one in conv2, conv4, conv5, fc6, fc7."""
    module = find_network("alexnet").build(1000)
    assert module.fc6.weight.std().item() == pytest.approx(0.01, rel=0.01)
    ones = {n for n, m in module.named_modules() if isinstance(m, nn.Conv2d | nn.Linear) and m.bias.min() == 1}
    assert ones == {"conv2", "conv4", "conv5", "fc6", "fc7"}


def test_local_response_norm_is_the_printed_formula() -> None:
    """K12 section 3.3, written out map by map."""
    x = torch.randn(2, 11, 3, 4) * 30
    wanted = torch.empty_like(x)
    for i in range(11):
        neighbours = x[:, max(0, i - 2) : min(10, i + 2) + 1]
        wanted[:, i] = x[:, i] / (2 + 1e-4 * (neighbours**2).sum(1)) ** 0.75
    torch.testing.assert_close(LocalResponseNorm(11)(x), wanted, rtol=1e-5, atol=1e-5)
    # torch takes the mean over five maps where the paper takes the sum.
    torch.testing.assert_close(
        LocalResponseNorm(11)(x), nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2)(x), rtol=1e-5, atol=1e-5
    )


def test_local_response_norm_is_computed_in_fp32_under_autocast() -> None:
    x = 5 * torch.randn(2, 96, 7, 7, generator=torch.Generator().manual_seed(0))
    for values in (x, x.bfloat16()):  # as a convolution in bf16 hands it on
        with torch.autocast("cpu", torch.bfloat16):
            found = LocalResponseNorm(96)(values)
        torch.testing.assert_close(found, LocalResponseNorm(96)(values.float()), rtol=0, atol=0)


@pytest.mark.parametrize("size", [(3, 3), (8, 8), (7, 13), (16, 5)])
def test_grid_pool_is_adaptive_pool(size: tuple[int, int]) -> None:
    x = torch.randn(2, 5, *size)
    torch.testing.assert_close(GridMaxPool(3).eval()(x), nn.AdaptiveMaxPool2d(3)(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["alexnet-64", "zfnet-64"])
def test_small_networks_stay_below_200_million_multiply_adds(name: str) -> None:
    network, count = find_network(name), 0

    def add(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal count
        count += module.weight.numel() * (output[0, 0].numel() if output.ndim == 4 else 1)

    module = network.build(200).eval()
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.register_forward_hook(add)
    module(torch.zeros(1, 3, 64, 64))
    assert 150e6 < count <= 200e6


def test_unknown_networks_are_refused_with_the_known_ones() -> None:
    with pytest.raises(NotFound, match="alexnet-64"):
        find_network("lenet")
    assert set(NETWORKS) == {"alexnet", "alexnet-64", "lenet-5", "zfnet", "zfnet-64"}
