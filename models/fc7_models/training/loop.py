"""The training loop: epochs, checkpoints, the log, and what happens when a run starts again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fc7.errors import FailedPrecondition, ResourceExhausted
from fc7_models.data.training_set import TrainingSet, read_training_set
from fc7_models.networks import find_network
from fc7_models.training.checkpoint import Checkpoint, is_milestone
from fc7_models.training.csv_log import CsvLog
from fc7_models.training.initial_weights import InitialWeights, load_initial_weights
from fc7_models.training.plan import Plan
from fc7_models.training.precision import choose_precision
from fc7_models.training.process_group import ProcessGroup, single_process
from fc7_models.training.recipes import find_recipe
from fc7_models.training.teacher import load_teacher
from fc7_models.training.trained_network import TrainedNetwork, TrainingRecord
from fc7_models.training.trainer import Trainer, TrainingSetup

MONITOR_PICTURES = 2000  # validation pictures that measure accuracy after each epoch
_SAVE_INTERVAL_S = 300.0  # between two checkpoints within an epoch
_DIVERGED = 10  # times the loss of guessing; a run that learns never gets there


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run, reported after each step and each epoch."""

    epoch: int  # epochs finished
    step: int
    n_steps: int
    loss: float
    pictures_per_s: float
    top1: float | None = None  # only after an epoch, on MONITOR_PICTURES validation pictures


Report = Callable[[Progress], None]


def train(
    folders: Sequence[Path],
    plan: Plan,
    checkpoints: Path,
    report: Report,
    *,
    start: Path | None = None,
    teacher: Path | None = None,
    processes: ProcessGroup | None = None,
) -> TrainedNetwork:
    """Train ``plan.network`` on the pictures of ``folders``.

    Parameters
    ----------
    folders
        See ``read_training_set``. Accuracy is measured on the first one's validation pictures.
    plan
        Network, recipe, epochs, batch, peak learning rate, seed.
    checkpoints
        Folder for the decoded pictures, the checkpoint (``state.pt``, every five minutes), the weights after some
        epochs (``epoch-N.pt``), the log (``log.csv``) and at the end ``trained.pt``. If it holds a checkpoint of
        the same run, the run continues from there.
    report
        Called with the progress.
    start
        File of an earlier run, or a bundle, whose weights this run begins with (see ``load_initial_weights``). The
        softmax begins anew where the classes differ. None begins with random weights.
    teacher
        A bundle with logits: its folder, or the name of a shipped one. The network also learns to predict its answers
        to the same views. None: no teacher.
    processes
        The processes that share the work; None: only this one.

    Returns
    -------
    TrainedNetwork
        The averaged network with the classes of the first head, on the CPU.

    Raises
    ------
    NotFound
        No such network, recipe, folder or file.
    InvalidArgument, ImageDecodeError
        The pictures are damaged or unfit for training, or there are fewer than processes; the message names the
        picture or class. Or ``start`` holds another network, or ``teacher`` has no logits.
    FailedPrecondition
        The checkpoint was made by another plan, from other pictures or by another version; or the training diverged.
    DataLoss
        The checkpoint, or ``start``, is damaged.
    """
    processes = processes or single_process()
    taught_by = load_teacher(teacher, processes.device) if teacher else None
    setup = TrainingSetup(plan, find_network(plan.network), find_recipe(plan.recipe), taught_by)
    initial = load_initial_weights(start, plan) if start else None
    with processes.main_first():
        pictures = read_training_set(
            folders,
            setup.network.recipe,
            checkpoints,
            has_heads=plan.has_heads,
            source_px=setup.recipe.source_px if setup.network.is_any_size else None,
        )
    trained = run_epochs(setup, pictures, checkpoints, report, processes, initial=initial)
    if processes.is_main:
        trained.save(checkpoints / "trained.pt")
    return trained


def run_epochs(
    setup: TrainingSetup,
    pictures: TrainingSet,
    checkpoints: Path,
    report: Report,
    processes: ProcessGroup,
    *,
    initial: InitialWeights | None = None,
    keeps_epoch: Callable[[int], bool] = is_milestone,
) -> TrainedNetwork:
    """Train on decoded pictures; otherwise as ``train``.

    Parameters
    ----------
    setup, pictures, checkpoints, report, processes
        See ``train``.
    initial
        The weights to begin with; None begins with random ones.
    keeps_epoch
        Whether the weights after an epoch (1, 2, ...) are kept as ``epoch-N.pt``.
    """
    plan, path = setup.plan, checkpoints / "state.pt"
    trainer = Trainer(setup, pictures, processes)
    if initial:
        trainer.load_initial_weights(initial.trained)
    checkpoint = Checkpoint(trainer.parts, _identity(setup, pictures, processes, initial))
    checkpoint.load(path)
    checkpoint.precision = checkpoint.precision or choose_precision(processes, trainer.time_step)
    trainer.precision = checkpoint.precision
    log = CsvLog(checkpoints, checkpoint.rows) if processes.is_main else None
    monitor = np.sort(np.random.default_rng(0).permutation(len(pictures.held_out))[:MONITOR_PICTURES])

    def snapshot(epochs: int, n_validation: int, top1: float, top5: float) -> TrainedNetwork:
        record = TrainingRecord(
            plan=plan,
            classes=pictures.heads[0],
            names=pictures.names,
            data=pictures.data,
            machine=processes.hardware,
            n_pictures=len(pictures),
            seconds=checkpoint.seconds,
            n_validation=n_validation,
            top1=top1,
            top5=top5,
            epochs=epochs,
            n_near=len(pictures.near_duplicates),
            near=pictures.near_duplicates,
            teacher=setup.teacher.name if setup.teacher else "",
            earlier=[*initial.trained.record.earlier, initial.trained.record.as_earlier_run()] if initial else [],
        )
        return TrainedNetwork(trainer.averaged_network(), record)

    for epoch in range(checkpoint.epoch, plan.epochs):
        speed = _run_epoch(trainer, checkpoint, path, report)
        loss = checkpoint.loss
        _check_loss(processes.broadcast(loss), trainer, epoch)
        checkpoint.epoch, checkpoint.step = epoch + 1, 0
        top1, top5 = trainer.accuracy(pictures.held_out[monitor], pictures.held_out_labels[monitor])
        trainer.plateau.update(1 - processes.broadcast(top1))
        row = {
            "epoch": epoch + 1,
            "time": round(time.time()),
            "size_px": trainer.crop_px((epoch + 1) * trainer.n_steps - 1),
            "loss": loss,
            "learning_rate": trainer.learning_rate,
            "top1": top1,
            "top5": top5,
            "pictures_per_s": speed,
        }
        checkpoint.rows.append(row)
        if log:
            if keeps_epoch(epoch + 1):
                snapshot(epoch + 1, len(monitor), top1, top5).save(checkpoints / f"epoch-{epoch + 1}.pt")
            checkpoint.save(path)
            log.add(row)
        report(Progress(epoch + 1, (epoch + 1) * trainer.n_steps, plan.epochs * trainer.n_steps, loss, speed, top1))

    top1, top5 = trainer.accuracy(pictures.held_out, pictures.held_out_labels)
    return snapshot(plan.epochs, len(pictures.held_out), top1, top5)


def _run_epoch(trainer: Trainer, checkpoint: Checkpoint, path: Path, report: Report) -> float:
    """Run the rest of an epoch, saving the checkpoint every five minutes; return views per second."""
    epoch, first, n_steps = checkpoint.epoch, checkpoint.step, trainer.n_steps
    began = saved = time.monotonic()
    for i, (views, labels) in enumerate(trainer.batches(epoch, first), first):
        step = epoch * n_steps + i
        trainer.set_learning_rate(step)
        try:
            loss = trainer.step(views, labels)
        except torch.OutOfMemoryError as error:
            raise _out_of_memory(trainer, tuple(views.shape), error) from error
        checkpoint.step, checkpoint.loss = i + 1, loss if i == 0 else 0.98 * checkpoint.loss + 0.02 * loss
        now = time.monotonic()
        speed = (i + 1 - first) * trainer.batch * trainer.processes.size / (now - began)
        report(Progress(epoch, step + 1, n_steps * trainer.plan.epochs, checkpoint.loss, speed))
        is_last = i + 1 == n_steps
        if is_last or (trainer.processes.is_main and now - saved >= _SAVE_INTERVAL_S):
            checkpoint.seconds, saved = checkpoint.seconds + now - saved, now
            if not is_last:  # the last step's checkpoint is saved after the validation
                checkpoint.save(path)
    return speed


def _out_of_memory(trainer: Trainer, shape: tuple[int, ...], error: Exception) -> ResourceExhausted:
    return ResourceExhausted(
        f"{trainer.processes.hardware} has too little memory for {shape[0]} views of {shape[-1]} pixels ({error}). "
        "Free some and start the run again: it continues from its last checkpoint",
        name="device",
    )


def _check_loss(loss: float, trainer: Trainer, epoch: int) -> None:
    plan, guessing = trainer.plan, math.log(max(map(len, trainer.pictures.heads)))
    guessing += trainer.recipe.contrastive_weight * math.log(trainer.batch)
    guessing += math.log(trainer.teacher.dims[1]) if trainer.teacher else 0
    if not loss <= _DIVERGED * guessing:  # also true for nan
        raise FailedPrecondition(
            f"training of {plan.network!r} with recipe {plan.recipe!r} diverged: the loss in epoch {epoch + 1} is "
            f"{loss:.3g}, and guessing gives {guessing:.3g}. Use another recipe, such as 'krizhevsky2012', and a new "
            "checkpoint folder",
            name=plan.recipe,
        )


def _identity(
    setup: TrainingSetup, pictures: TrainingSet, processes: ProcessGroup, initial: InitialWeights | None
) -> dict[str, Any]:
    """Return what must be equal for a run to continue from a checkpoint."""
    return {
        **asdict(setup.plan),
        "recipe_settings": asdict(setup.recipe),
        "heads": pictures.heads,
        "pictures": pictures.digest,
        "processes": processes.size,
        "start": initial.sha256 if initial else None,
        "teacher": setup.teacher.sha256 if setup.teacher else None,
    }
