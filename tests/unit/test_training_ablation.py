"""Variants of a network differ from it in what their names say; the study is a table and goes on where it stopped."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

from fc7.cli import main
from fc7.errors import InvalidArgument
from fc7_models.networks import find_network
from fc7_models.networks.layers import LocalResponseNorm
from fc7_models.studies import ablation
from fc7_models.training.recipes import find_recipe
from fc7_models.training.trainer import Trainer

PAPER_NETWORKS = ("alexnet", "zfnet", "alexnet-64", "zfnet-64")


def variants(name: str) -> dict[str, ablation.Variant]:
    base = find_network(name)
    return {one.name: one for one in [*ablation.layer_variants(base, name), *ablation.technique_variants()]}


def widths(module: Any) -> list[int]:
    """Return the maps of the convolutions and the units of the layers after them."""
    return [m.weight.shape[0] for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


@pytest.mark.parametrize("name", PAPER_NETWORKS)
def test_every_variant_runs_at_every_size_it_is_trained_at(name: str) -> None:
    """On the meta device: shapes without numbers."""
    base, recipe = find_network(name), find_recipe("modern")
    sizes = [round(base.recipe.crop_px * share) for _, share in recipe.crop_growth] if base.is_any_size else []
    with torch.device("meta"):
        for one in variants(name).values():
            module = one.network(base).build(5)
            for px in [*sizes, base.recipe.crop_px]:
                assert module(torch.zeros(2, 3, px, px))["logits"].shape == (2, 5), one.name


@pytest.mark.parametrize(("name", "maps", "units"), [("zfnet", [96, 256, 384, 384, 256], 4096),
                                                     ("alexnet-64", [64, 160, 320, 256, 256], 1024)])  # fmt: skip
def test_layers_are_removed_and_resized(name: str, maps: list[int], units: int) -> None:
    base = find_network(name)
    with torch.device("meta"):
        found = {one.name: widths(one.network(base).build(7)) for one in ablation.layer_variants(base, name)}
    assert found == {
        "as it is": [*maps, units, units, 7],
        "without layers 3, 4": [*maps[:2], maps[4], units, units, 7],
        "without layer 7": [*maps, units, 7],
        "without layers 6, 7": [*maps, 7],
        "without layers 3, 4, 6, 7": [*maps[:2], maps[4], 7],
        "layers 6, 7: half the units": [*maps, units // 2, units // 2, 7],
        "layers 6, 7: twice the units": [*maps, units * 2, units * 2, 7],
        "layers 3, 4, 5: twice the maps": [*maps[:2], *(2 * m for m in maps[2:]), units, units, 7],
    }


@pytest.mark.parametrize("name", PAPER_NETWORKS)
def test_techniques_are_left_out(name: str) -> None:
    base, made = find_network(name), variants(name)
    with torch.device("meta"):
        plain = made["without normalisation"].network(base).build(3)
        parted = made["without overlap in pooling"].network(base).build(3)
        kept = made["without dropout"].network(base).build(3)
    assert not any(isinstance(m, nn.BatchNorm2d | LocalResponseNorm) for m in plain.modules())
    assert all(m.bias is not None for m in plain.modules() if isinstance(m, nn.Conv2d))
    pools = [m for m in parted.modules() if isinstance(m, nn.MaxPool2d)]
    assert {(pool.kernel_size, pool.stride) for pool in pools} == {(2, 2)}
    assert not any(isinstance(m, nn.Dropout) for m in kept.modules())
    recipe = made["without data augmentation"].recipe(find_recipe("krizhevsky2012"))
    assert (recipe.views, recipe.colour_shift, recipe.crop_growth) == ("whole", 0.0, ((1.0, 1.0),))
    assert made["without dropout"].recipe(find_recipe("modern")) == find_recipe("modern")


def test_a_layer_that_is_gone_does_not_drop_twice() -> None:
    module = variants("alexnet-64")["without layer 7"].network(find_network("alexnet-64")).build(4)
    assert (1 - module.dropout.p) ** 2 == pytest.approx(0.8)
    assert variants("alexnet-64")["without layers 6, 7"].network(find_network("alexnet-64")).build(4).eval()


def test_networks_of_other_layers_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"'lenet-5' does not have the .* alexnet, alexnet-64, zfnet"):
        ablation.layer_variants(find_network("lenet-5"), "lenet-5")


def test_the_study_is_two_tables_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split, n in (("train", 4), ("val", 1)):
        for c, name in enumerate(("dark", "light")):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for i in range(n):
                noise = np.random.default_rng(100 * c + 10 * n + i).integers(0, 120, (64, 64, 3))
                Image.fromarray((noise + 120 * c).astype(np.uint8)).save(tmp_path / "data" / split / name / f"{i}.png")
    command = ["model", "ablate", str(tmp_path / "data"), "--network", "alexnet-64", "--epochs", "1"]
    command += ["--output", str(tmp_path / "study"), "--json"]
    steps: list[int] = []
    step = Trainer.step

    def cut(self: Any, x: torch.Tensor, labels: torch.Tensor) -> float:
        steps.append(len(labels))
        if len(steps) == 3:
            raise KeyboardInterrupt
        return step(self, x, labels)

    monkeypatch.setattr(Trainer, "step", cut)
    assert CliRunner().invoke(main, command).exit_code == 130
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert len(steps) == 3 + 10  # twelve variants, of which two were done
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["table"] for row in rows] == ["layers"] * 8 + ["techniques"] * 5
    assert rows[0] | {"table": "techniques"} == rows[8]
    kept = {path.name for path in (tmp_path / "study").rglob("*.pt")}
    assert kept == {"state.pt"}  # weights of networks that are in no table could not be read again
    for table in ("layers", "techniques"):
        with (tmp_path / "study" / f"{table}.csv").open() as file:
            assert [row["variant"] for row in csv.DictReader(file)] == [
                row["variant"] for row in rows if row["table"] == table
            ]
    assert {row["parameters"] for row in rows if "dropout" in row["variant"]} == {rows[0]["parameters"]}
