"""Train a network on labelled pictures; checkpoint every epoch, go on where it stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fc7.errors import FailedPrecondition
from fc7_models.data.training_set import TrainingSet, read_training_set
from fc7_models.networks import find_network
from fc7_models.training.checkpoint import State, is_kept
from fc7_models.training.csv_log import Log
from fc7_models.training.initial_weights import Start, load_start
from fc7_models.training.precision import choose_precision
from fc7_models.training.process_group import Team, alone
from fc7_models.training.recipes import find_recipe
from fc7_models.training.trained_network import Facts, Plan, Trained
from fc7_models.training.trainer import Job, Trainer

MONITOR = 2000  # validation pictures looked at after each epoch
_SAVE_S = 300.0  # between two savings of the state, but for the end of an epoch
_DIVERGED = 10  # times the loss of guessing, which no run that learns comes to


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands; handed to ``report`` after each step and each epoch."""

    epoch: int  # epochs finished
    step: int
    n_steps: int
    loss: float
    pictures_per_s: float
    top1: float | None = None  # on MONITOR validation pictures, after an epoch


Report = Callable[[Progress], None]


def train(
    folders: Sequence[Path],
    plan: Plan,
    checkpoints: Path,
    report: Report,
    *,
    start: Path | None = None,
    team: Team | None = None,
) -> Trained:
    """Train ``plan.network`` on the pictures of ``folders``.

    Parameters
    ----------
    folders
        See ``read_training_set``; the first one's validation pictures are those that count.
    plan
        Network, recipe, epochs, batch, peak learning rate, seed.
    checkpoints
        Folder for the decoded pictures, the state (every five minutes), the weights after some
        epochs (``epoch-N.pt``), the log and at the end ``trained.pt``. A run that finds its
        own state there goes on from it.
    report
        Called with the progress.
    start
        File of an earlier run, or bundle (see ``load_start``), whose weights this one begins with; the
        softmax begins anew where the classes differ. None begins with random weights.
    team
        Processes that share the work; None: this one alone.

    Returns
    -------
    Trained
        The averaged network, with the classes of the first head, on the CPU.

    Raises
    ------
    NotFound
        No such network, recipe, folder or file.
    InvalidArgument, ImageDecodeError
        The pictures cannot be trained on, or are fewer than the processes; a damaged one, or a class, is named.
        Or ``start`` is of another network.
    FailedPrecondition
        The state in ``checkpoints`` belongs to another plan or other pictures, or the training diverged.
    DataLoss
        That state, or ``start``, is damaged.
    """
    job = Job(plan, find_network(plan.network), find_recipe(plan.recipe))
    team = team or alone()
    earlier = load_start(start, plan) if start else None
    with team.first_alone():
        pictures = read_training_set(
            folders,
            job.network.recipe,
            checkpoints,
            has_heads=plan.has_heads,
            source_px=job.recipe.source_px if job.network.is_any_size else None,
        )
    trained = run(job, pictures, checkpoints, report, team, start=earlier)
    if team.is_first:
        trained.save(checkpoints / "trained.pt")
    return trained


def run(
    job: Job,
    pictures: TrainingSet,
    checkpoints: Path,
    report: Report,
    team: Team,
    *,
    start: Start | None = None,
    keeps: Callable[[int], bool] = is_kept,
) -> Trained:
    """Train on decoded pictures, and keep the weights of the epochs of ``keeps``; otherwise as ``train``."""
    plan, path = job.plan, checkpoints / "state.pt"
    trainer = Trainer(job, pictures, team)
    if start:
        trainer.begin_with(start.trained)
    state = State(trainer.parts, _identity(plan, pictures, team, start))
    state.load(path)
    trainer.precision = state.precision = state.precision or choose_precision(team, trainer.seconds_of_step)
    log = Log(checkpoints, state.rows) if team.is_first else None
    monitor = np.sort(np.random.default_rng(0).permutation(len(pictures.held_out))[:MONITOR])

    def facts(epochs: int, n_validation: int, top1: float, top5: float) -> Facts:
        return Facts(
            plan=plan,
            classes=pictures.heads[0],
            names=pictures.names,
            data=pictures.data,
            machine=team.machine,
            n_pictures=len(pictures),
            seconds=state.seconds,
            n_validation=n_validation,
            top1=top1,
            top5=top5,
            epochs=epochs,
            n_near=len(pictures.near_duplicates),
            near=pictures.near_duplicates,
            earlier=[*start.trained.facts.earlier, start.trained.facts.as_run()] if start else [],
        )

    for epoch in range(state.epoch, plan.epochs):
        speed = _epoch(trainer, state, path, report)
        loss = state.loss
        _check_loss(team.agree(loss), trainer, epoch)
        state.epoch, state.step = epoch + 1, 0
        top1, top5 = trainer.accuracy(pictures.held_out[monitor], pictures.held_out_labels[monitor])
        trainer.plateau.see(1 - team.agree(top1))
        row = {
            "epoch": epoch + 1,
            "time": round(time.time()),
            "size_px": trainer.size_px((epoch + 1) * trainer.n_steps - 1),
            "loss": loss,
        }
        row |= {"learning_rate": trainer.learning_rate, "top1": top1, "top5": top5, "pictures_per_s": speed}
        state.rows.append(row)
        if log:
            if keeps(epoch + 1):
                so_far = Trained(trainer.result(), facts(epoch + 1, len(monitor), top1, top5))
                so_far.save(checkpoints / f"epoch-{epoch + 1}.pt")
            state.save(path)
            log.add(row)
        report(Progress(epoch + 1, (epoch + 1) * trainer.n_steps, plan.epochs * trainer.n_steps, loss, speed, top1))

    top1, top5 = trainer.accuracy(pictures.held_out, pictures.held_out_labels)
    return Trained(trainer.result(), facts(plan.epochs, len(pictures.held_out), top1, top5))


def _epoch(trainer: Trainer, state: State, path: Path, report: Report) -> float:
    """Run what is left of an epoch, and save the state now and then; return pictures a second."""
    epoch, first, n_steps = state.epoch, state.step, trainer.n_steps
    began = saved = time.monotonic()
    for i, (x, labels) in enumerate(trainer.batches(epoch, first), first):
        step = epoch * n_steps + i
        trainer.set_rate(step)
        value = trainer.step(x, labels)
        state.step, state.loss = i + 1, value if i == 0 else 0.98 * state.loss + 0.02 * value
        now = time.monotonic()
        speed = (i + 1 - first) * trainer.batch * trainer.team.size / (now - began)
        report(Progress(epoch, step + 1, n_steps * trainer.plan.epochs, state.loss, speed))
        is_last = i + 1 == n_steps
        if is_last or (trainer.team.is_first and now - saved >= _SAVE_S):
            state.seconds, saved = state.seconds + now - saved, now
            if not is_last:  # then the run saves it, once it has looked at validation pictures
                state.save(path)
    return speed


def _check_loss(loss: float, trainer: Trainer, epoch: int) -> None:
    plan, guessing = trainer.plan, math.log(max(map(len, trainer.pictures.heads)))
    guessing += trainer.recipe.likeness * math.log(trainer.batch)
    if not loss <= _DIVERGED * guessing:  # nor is it nan
        raise FailedPrecondition(
            f"training of {plan.network!r} by {plan.recipe!r} diverged: its loss in epoch {epoch + 1} is {loss:.3g}, "
            f"that of guessing is {guessing:.3g}: take another recipe, such as "
            "'krizhevsky2012', in a new checkpoint folder",
            name=plan.recipe,
        )


def _identity(plan: Plan, pictures: TrainingSet, team: Team, start: Start | None) -> dict[str, Any]:
    """Return what a state must have been made with to be gone on from."""
    return {
        **asdict(plan),
        "heads": pictures.heads,
        "pictures": pictures.digest,
        "processes": team.size,
        "start": start.sha256 if start else None,
    }
