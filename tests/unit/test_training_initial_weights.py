"""A run goes on from the middle of an epoch, and begins with the weights of a bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fc7.errors import InvalidArgument
from fc7_models.export.export_trained import export_bundle
from fc7_models.export.model_card import write_card
from fc7_models.export.torch_to_onnx import fold_batch_norm
from fc7_models.networks import find_network
from fc7_models.training import loop
from fc7_models.training.checkpoint import Checkpoint
from fc7_models.training.initial_weights import calibrate_batch_norm, load_initial_weights
from fc7_models.training.loop import Progress, train
from fc7_models.training.plan import Plan, make_plan
from fc7_models.training.process_group import ProcessGroup
from fc7_models.training.trained_network import TrainedNetwork, fill_batch_norm, load_trained
from fc7_service.bundle.folder import shipped_bundles

PLAN = Plan("alexnet-64", epochs=2, batch=16, learning_rate=0.02)
CPU = ProcessGroup(torch.device("cpu"))


@pytest.fixture(autouse=True)
def _fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine is fast at decides no test."""
    monkeypatch.setattr(loop, "choose_precision", lambda processes, time_step: "fp32")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for c, name in enumerate(("dark", "light")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(40):
            noise = np.random.default_rng(100 * c + i).integers(0, 120, (64, 64, 3))
            Image.fromarray((noise + 120 * c).astype(np.uint8)).save(tmp_path / "data" / name / f"{i}.png")
    return tmp_path / "data"


def quiet(progress: Progress) -> None:
    """Take the progress."""


def same_weights(a: TrainedNetwork, b: TrainedNetwork) -> None:
    for name, weight in a.module.state_dict().items():
        assert torch.equal(b.module.state_dict()[name], weight), name


@pytest.mark.parametrize("recipe", ["modern", "robust"])
@pytest.mark.parametrize("stopped", [1, 3, 6])
def test_cut_off_within_an_epoch_it_ends_with_the_same_weights(
    recipe: str, stopped: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut right after a state was saved in the middle of an epoch."""
    plan = replace(PLAN, recipe=recipe)
    whole = train([folder], plan, tmp_path / "whole", quiet, processes=CPU)
    monkeypatch.setattr(loop, "_SAVE_INTERVAL_S", 0.0)
    save, saved = Checkpoint.save, []

    def save_and_stop(self: Checkpoint, path: Path) -> None:
        save(self, path)
        saved.append((self.epoch, self.step))
        if len(saved) == stopped:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train([folder], plan, tmp_path / "cut", quiet, processes=CPU)
    n_steps = {"modern": 4, "robust": 9}[recipe]
    assert saved[-1] == divmod(stopped, n_steps)
    monkeypatch.setattr(Checkpoint, "save", save)
    cut = train([folder], plan, tmp_path / "cut", quiet, processes=CPU)
    same_weights(whole, cut)
    logs = [(tmp_path / name / "log.csv").read_text().splitlines() for name in ("whole", "cut")]
    loss = logs[0][0].split(",").index("loss")
    assert [row.split(",")[loss] for row in logs[0]] == [row.split(",")[loss] for row in logs[1]]


def views(n: int, px: int = 48) -> Tensor:
    return torch.randn(n, 3, px, px, generator=torch.Generator().manual_seed(0))


def spoilt(network: str) -> TrainedNetwork:
    """Return a network with the statistics and biases of a training that never was; many units of fc6 never fire."""
    torch.manual_seed(1)
    module = find_network(network).build(5)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2)
            elif name.endswith(("running_mean", "bias")):
                value.uniform_(-0.5, 0.5)
        module.norm6.bias[:100] = -50
    facts = load_initial_weights(Path(network), Plan(network)).trained.record
    return TrainedNetwork(module.eval(), replace(facts, plan=Plan(network), classes=list("abcde"), names={}))


@pytest.mark.parametrize("network", ["alexnet-64", "zfnet-64"])
def test_a_bundle_becomes_a_network_that_trains_on(network: str, tmp_path: Path) -> None:
    """Settled, it computes what the bundle did, has the statistics of the pictures, and no unit that never fires."""
    trained = spoilt(network)
    export_bundle(trained, tmp_path / "bundle", name="b")
    again = load_initial_weights(tmp_path / "bundle", Plan(network)).trained
    x = views(64)
    with torch.inference_mode():
        wanted = fold_batch_norm(trained.module)(x)
        torch.testing.assert_close(again.module(x), wanted, rtol=0.01, atol=0.01)
    calibrate_batch_norm(again.module, x)
    found = again.module.eval()(x)["logits"]
    torch.testing.assert_close(found, wanted["logits"], rtol=0.01, atol=0.01)
    learning = again.module.train()(x)
    again.module.dropout.eval()
    torch.testing.assert_close(again.module(x)["logits"], found, rtol=0.05, atol=0.05)
    assert not (wanted["fc6"][:, :100] > 0).any()
    assert (learning["fc6"][:, :100] > 0).any(0).all()


def test_what_is_settled_once_stays() -> None:
    module = find_network("zfnet-64").build(3).train()
    module(views(8))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    calibrate_batch_norm(module, views(16))
    for name, value in module.state_dict().items():
        assert torch.equal(before[name], value), name


def test_a_run_begins_with_a_shipped_bundle(folder: Path, tmp_path: Path) -> None:
    plan = make_plan("zfnet-64", recipe="robust", epochs=1, has_start=True)
    assert plan.learning_rate == pytest.approx(make_plan("zfnet-64", recipe="robust").learning_rate / 3)
    seen: list[Progress] = []
    trained = train(
        [folder], replace(plan, batch=32), tmp_path / "state", seen.append, start=Path("zfnet-64"), processes=CPU
    )
    bundle = shipped_bundles()["zfnet-64"]
    assert bundle.is_dir()
    card = write_card(trained, "tuned")
    assert "from the weights of earlier runs (the bundle `zfnet-64` (graph " in card
    assert "that grow from 64 to 96 pixels" in card
    assert load_trained(tmp_path / "state" / "trained.pt").record == trained.record
    with pytest.raises(
        InvalidArgument, match="'zfnet-64' holds the network 'zfnet-64', but the run trains 'alexnet-64'"
    ):
        train([folder], make_plan("alexnet-64"), tmp_path / "other", quiet, start=Path("zfnet-64"), processes=CPU)


def test_files_of_before_fc6_and_fc7_were_normalised_still_load(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = find_network("alexnet-64").build(2).eval()
    facts = replace(load_initial_weights(Path("alexnet-64"), Plan("alexnet-64")).trained.record, classes=["a", "b"])
    TrainedNetwork(module, facts).save(tmp_path / "new.pt")
    saved = torch.load(tmp_path / "new.pt", weights_only=True)
    saved["weights"] = {name: value for name, value in saved["weights"].items() if not name.startswith("norm")}
    torch.save(saved, tmp_path / "old.pt")
    old = load_trained(tmp_path / "old.pt").module
    x = views(2, 64)
    fc6 = module.fc6(module(x)["pool5"].flatten(1)).relu()
    torch.testing.assert_close(old(x)["fc6"], fc6)
    assert fill_batch_norm(module.state_dict(), module).keys() == module.state_dict().keys()
