"""A run is killed and goes on bit by bit, begins with an earlier one's weights, is shared among processes."""

from __future__ import annotations

import csv
import datetime
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import distributed

from fc7.cli import main
from fc7.errors import FailedPrecondition, InvalidArgument, NotFound
from fc7_models.data.dataset import read_dataset
from fc7_models.export import export_trained
from fc7_models.export.model_card import write_card
from fc7_models.training import loop
from fc7_models.training.checkpoint import is_milestone
from fc7_models.training.csv_log import CsvLog
from fc7_models.training.loop import train
from fc7_models.training.plan import Plan, make_plan
from fc7_models.training.precision import choose_precision
from fc7_models.training.process_group import ProcessGroup, join_process_group, single_process
from fc7_models.training.trained_network import TrainedNetwork, load_trained
from fc7_service.bundle.bundle import Bundle
from fc7_service.bundle.folder import open_bundle
from servers import WAIT_S

PLAN = Plan("alexnet-64", epochs=3, batch=16, learning_rate=0.02)
RUN = """
import sys
from pathlib import Path
import torch
from fc7_models.training import loop, trainer
from fc7_models.training.plan import Plan
torch.set_num_threads(1)
loop.choose_precision = lambda processes, time_step: "fp32"
learn = trainer.Trainer.step
def step(self, x, labels):
    print("step", flush=True)
    sys.stdin.readline()  # whoever wants to kill it in this step says when to go on
    return learn(self, x, labels)
trainer.Trainer.step = step
plan = Plan("alexnet-64", epochs=3, batch=16, learning_rate=0.02)
loop.train([Path(sys.argv[1])], plan, Path(sys.argv[2]), lambda progress: None)
"""

IN_FP32 = """\
from fc7.cli import main
from fc7_models.training import loop
loop.choose_precision = lambda processes, time_step: "fp32"
main()
"""


def paint(folder: Path, n: int = 40, **colours: tuple[int, int, int]) -> Path:
    """Write an ImageFolder of noisy colours."""
    for c, (name, colour) in enumerate(colours.items()):
        (folder / name).mkdir(parents=True)
        for i in range(n):
            noise = np.random.default_rng(1000 * c + i).integers(-30, 30, (64, 64, 3))
            pixels = (np.array(colour) + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i:02d}.png")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return paint(tmp_path / "data", red=(200, 60, 60), blue=(60, 60, 200))


def quiet(progress: loop.Progress) -> None:
    """Take the progress."""


def same_weights(a: TrainedNetwork, b: TrainedNetwork, tolerance: float = 0.0) -> None:
    for name, weight in a.module.state_dict().items():
        torch.testing.assert_close(b.module.state_dict()[name], weight, rtol=tolerance, atol=tolerance)


def test_killed_at_a_random_point_it_ends_with_the_same_weights(folder: Path, tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def start(state: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", RUN, str(folder), str(tmp_path / state)]
        return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, text=True, env=environment)

    with start("whole") as whole:
        lines = whole.communicate(timeout=WAIT_S)[0].count("step")
    assert (whole.returncode, lines) == (0, 12)
    n = random.randint(1, lines - 1)
    print(f"killed in step {n}")
    with start("cut", subprocess.PIPE) as cut:
        assert cut.stdin
        assert cut.stdout
        for _ in range(n):
            assert cut.stdout.readline() == "step\n"
            cut.stdin.write("go on\n")
            cut.stdin.flush()
        cut.kill()
    assert cut.returncode == -signal.SIGKILL
    with start("cut") as again:
        left = again.communicate(timeout=WAIT_S)[0].count("step")
    assert again.returncode == 0
    assert left in {lines - 4 * ((n - 1) // 4), lines - 4 * (n // 4)}  # the epoch's end was reached, or not
    same_weights(*(load_trained(tmp_path / name / "trained.pt") for name in ("whole", "cut")))


def test_weights_of_some_epochs_are_kept(folder: Path, tmp_path: Path) -> None:
    assert [epoch for epoch in range(1, 501) if is_milestone(epoch)] == [1, 2, 5, 10, 20, 50, 100, 200, 500]
    trained = train([folder], PLAN, tmp_path / "state", quiet)
    assert sorted(p.name for p in (tmp_path / "state").glob("epoch-*")) == ["epoch-1.pt", "epoch-2.pt"]
    second = load_trained(tmp_path / "state" / "epoch-2.pt")
    assert (second.record.epochs, trained.record.epochs) == (2, 3)
    assert 0 < second.record.seconds < trained.record.seconds
    assert not torch.equal(second.module.fc8.weight, trained.module.fc8.weight)
    assert "2 epochs" in write_card(second, "early")


def test_a_run_begins_with_the_weights_of_an_earlier_one(folder: Path, tmp_path: Path) -> None:
    first = train([folder], replace(PLAN, epochs=1), tmp_path / "first", quiet)
    file = tmp_path / "first" / "trained.pt"
    still = replace(PLAN, epochs=1, learning_rate=0.0)
    same = train([folder], still, tmp_path / "same", quiet, start=file)
    for layer in ("fc6", "fc8"):
        assert torch.equal(same.module.get_parameter(f"{layer}.weight"), first.module.get_parameter(f"{layer}.weight"))
    filters = [run.module.get_parameter("conv1.0.weight").flatten() for run in (same, first)]  # their scale is free
    assert torch.cosine_similarity(*filters, dim=0).item() == pytest.approx(1, abs=1e-6)
    three = paint(tmp_path / "three", red=(200, 60, 60), blue=(60, 60, 200), green=(60, 200, 60))
    other = train([three], still, tmp_path / "other", quiet, start=file)
    assert torch.equal(other.module.fc7.weight, first.module.fc7.weight)
    assert other.module.fc8.weight.shape == (3, 1024)
    assert other.record.earlier == [first.record.as_earlier_run()]
    again = load_trained(tmp_path / "other" / "trained.pt")
    assert again.record == other.record
    assert "earlier runs (1 epochs of `modern` on 76 pictures of data" in write_card(again, "tuned")
    with pytest.raises(FailedPrecondition, match="other initial weights"):
        train([folder], still, tmp_path / "same", quiet, start=tmp_path / "same" / "trained.pt")
    with pytest.raises(
        InvalidArgument, match=r"trained\.pt' holds the network 'alexnet-64', but the run trains 'zfnet-64'"
    ):
        train([folder], Plan("zfnet-64"), tmp_path / "zf", quiet, start=file)
    with pytest.raises(NotFound):
        train([folder], still, tmp_path / "none", quiet, start=tmp_path / "none.pt")


def test_several_folders_share_a_class_list_or_have_a_head_each(folder: Path, tmp_path: Path) -> None:
    more = paint(tmp_path / "more", red=(250, 0, 0), green=(0, 250, 0), black=(30, 30, 30))
    plan = make_plan("alexnet-64", epochs=1)
    union = train([folder, more], plan, tmp_path / "union", quiet)
    assert union.record.classes == ["black", "blue", "green", "red"]
    assert (union.record.n_pictures, union.record.n_validation, union.record.data) == (76 + 114, 4, "data + more")
    heads = train([folder, more], replace(plan, has_heads=True), tmp_path / "heads", quiet)
    assert heads.record.classes == ["blue", "red"]
    assert heads.module.fc8.weight.shape == (2, 1024)
    state = torch.load(tmp_path / "heads" / "state.pt", weights_only=True)
    assert state["identity"]["heads"] == [["blue", "red"], ["black", "green", "red"]]
    assert state["module"]["fc8.weight"].shape == (5, 1024)
    same_weights(heads, load_trained(tmp_path / "heads" / "trained.pt"))
    assert "one softmax per folder" in write_card(heads, "heads")


def test_the_command_takes_folders_recipe_heads_and_a_start(folder: Path, tmp_path: Path) -> None:
    more = paint(tmp_path / "more", red=(250, 0, 0), green=(0, 250, 0), black=(30, 30, 30))
    train([folder], make_plan("lenet-5", epochs=1), tmp_path / "first", quiet)
    command = ["model", "train", str(folder), str(more), "--network", "lenet-5", "--output", str(tmp_path / "made")]
    command += ["--recipe", "krizhevsky2012", "--heads", "--epochs", "2", "--json"]
    done = CliRunner().invoke(main, [*command, "--from", str(tmp_path / "first" / "epoch-1.pt")])
    assert done.exit_code == 0, done.output
    bundle = open_bundle(tmp_path / "made")
    assert [one.id for one in bundle.classes] == ["blue", "red"]
    card = (tmp_path / "made" / "card.md").read_text(encoding="utf-8")
    assert "from the weights of earlier runs (1 epochs of `modern`" in card
    assert "recipe `krizhevsky2012`: 2 epochs" in card
    assert CliRunner().invoke(main, [*command, "--output", str(tmp_path / "b"), "--recipe", "none"]).exit_code == 3


def test_what_is_learnt_after_the_run_sees_no_copies(
    folder: Path, tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[Path]] = []

    def export_bundle(trained: TrainedNetwork, output: Path, *, pictures: list[Path], **options: object) -> Bundle:
        seen.append(pictures)
        return open_bundle(tiny_bundle)

    monkeypatch.setattr(export_trained, "export_bundle", export_bundle)
    (held_out, *_) = read_dataset(folder, "val").paths
    (folder / "red" / "zz.png").write_bytes(held_out.read_bytes())
    command = ["model", "train", str(folder), "--network", "alexnet-64", "--epochs", "1"]
    done = CliRunner().invoke(main, [*command, "--output", str(tmp_path / "made")])
    assert "1 picture left out, because a validation picture is nearly the same" in done.output
    checkpoint = str(tmp_path / "made.checkpoints" / "trained.pt")
    command = ["model", "export", checkpoint, "--pictures", str(folder), "--output", str(tmp_path / "again")]
    assert CliRunner().invoke(main, command).exit_code == 0
    assert len(seen[0]) == 76
    assert folder / "red" / "zz.png" not in seen[0]
    assert seen[1] == seen[0]


def test_notes_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_bytes(b"caf\xe9")
    command = ["model", "export", "trained.pt", "--notes", str(tmp_path / "notes.md")]
    done = CliRunner().invoke(main, [*command, "--output", str(tmp_path / "made")])
    assert (done.exit_code, "notes.md' is not UTF-8" in done.output) == (2, True)


def test_two_processes_do_what_one_does_with_twice_the_batch(folder: Path, tmp_path: Path) -> None:
    """76 pictures are one batch of 76, or 38 for each of two."""
    program = tmp_path / "fc7_in_fp32.py"
    program.write_text(IN_FP32)
    command = (
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(program), "model", "train"),
        *(str(folder), "--network", "lenet-5", "--epochs", "3", "--output", str(tmp_path / "two")),
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=WAIT_S, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wrote bundle two to") == 1
    assert done.stderr.count("epoch 3: ") == 1
    one = train(
        [folder], make_plan("lenet-5", epochs=3), tmp_path / "one", quiet, processes=ProcessGroup(torch.device("cpu"))
    )
    two = load_trained(tmp_path / "two.checkpoints" / "trained.pt")
    assert two.record.n_pictures == one.record.n_pictures
    same_weights(one, two, tolerance=1e-5)


def test_fewer_pictures_than_processes_are_refused(folder: Path, tmp_path: Path) -> None:
    pictures = loop.read_training_set([folder], loop.find_network("lenet-5").recipe, tmp_path)
    setup = loop.TrainingSetup(make_plan("lenet-5"), loop.find_network("lenet-5"), loop.find_recipe("modern"))
    with pytest.raises(InvalidArgument, match="76 pictures are too few for 77 processes"):
        loop.run_epochs(setup, pictures, tmp_path, quiet, ProcessGroup(torch.device("cpu"), size=77))


def test_the_others_wait_for_hours_until_the_first_has_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[datetime.timedelta] = []
    monkeypatch.setattr(distributed, "is_torchelastic_launched", lambda: True)
    monkeypatch.setattr(distributed, "init_process_group", lambda backend, timeout: joined.append(timeout))
    monkeypatch.setattr(distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with join_process_group() as processes:
        assert (processes.rank, processes.size) == (1, 2)
    assert joined[0] >= datetime.timedelta(hours=12)


@pytest.mark.parametrize(("bf16_s", "wanted"), [(0.5, "bf16"), (0.95, "fp32"), (2.0, "fp32")])
def test_bf16_is_taken_where_it_is_clearly_faster(bf16_s: float, wanted: str) -> None:
    times = {"fp32": 1.0, "bf16": bf16_s}
    assert choose_precision(ProcessGroup(torch.device("cpu")), times.__getitem__) == wanted


def test_a_run_keeps_the_precision_it_began_with(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "choose_precision", lambda processes, time_step: "bf16")
    whole = train(
        [folder], replace(PLAN, epochs=2), tmp_path / "whole", quiet, processes=ProcessGroup(torch.device("cpu"))
    )

    def stop(progress: loop.Progress) -> None:
        if progress.top1 is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train([folder], replace(PLAN, epochs=2), tmp_path / "cut", stop, processes=ProcessGroup(torch.device("cpu")))
    monkeypatch.setattr(loop, "choose_precision", lambda processes, time_step: "fp32")
    cut = train([folder], replace(PLAN, epochs=2), tmp_path / "cut", quiet, processes=ProcessGroup(torch.device("cpu")))
    same_weights(whole, cut)


def test_a_step_is_timed_without_a_trace(folder: Path, tmp_path: Path) -> None:
    pictures = loop.read_training_set([folder], loop.find_network("alexnet-64").recipe, tmp_path)
    setup = loop.TrainingSetup(PLAN, loop.find_network("alexnet-64"), loop.find_recipe("modern"))
    trainer = loop.Trainer(setup, pictures, single_process())
    before = {name: value.clone() for name, value in trainer.module.state_dict().items()}
    assert trainer.time_step("bf16") > 0
    for name, value in trainer.module.state_dict().items():
        assert torch.equal(before[name], value)


def test_the_log_is_a_table_that_a_resumed_run_writes_anew(tmp_path: Path) -> None:
    first = {"epoch": 1, "time": 1_700_000_000, "loss": 2.5, "top1": 0.25}
    second = {"epoch": 200, "time": 1_700_000_100, "loss": 1.5, "top1": 0.5}
    CsvLog(tmp_path, []).add(first)
    CsvLog(tmp_path, [first]).add(second)
    with (tmp_path / "log.csv").open() as file:
        assert [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)] == [first, second]
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]
