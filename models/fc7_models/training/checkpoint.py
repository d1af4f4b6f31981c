"""The checkpoint of an unfinished run: everything that the next process needs to continue it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from fc7.errors import DataLoss, FailedPrecondition
from fc7_models.training.precision import Precision
from fc7_models.training.trained_network import save_torch_file

_MILESTONES = (1, 2, 5)  # times a power of ten
# What a difference in these keys of a checkpoint's identity means; all other keys are fields of the plan.
_MEANINGS = {
    "pictures": "other pictures",
    "heads": "other classes",
    "processes": "another number of processes",
    "start": "other initial weights",
    "teacher": "another teacher, or none",
    "recipe_settings": "another version of its recipe",
}


class Stateful(Protocol):
    """A module, an optimizer or a schedule."""

    def state_dict(self) -> dict[str, Any]:
        """Return what ``load_state_dict`` takes."""

    def load_state_dict(self, state: Any, /) -> Any:
        """Continue from ``state``."""


class Checkpoint:
    """The progress of a run and the parts that hold its numbers, saved as one file.

    Parameters
    ----------
    parts
        Name -> module, optimizer or schedule.
    identity
        What the run is made of: its plan, recipe, pictures, processes and initial weights. A file with another
        identity cannot be continued.
    """

    def __init__(self, parts: Mapping[str, Stateful], identity: Mapping[str, Any]) -> None:
        self.parts = parts
        self.identity = identity
        self.epoch = 0  # finished
        self.step = 0  # of the current epoch
        self.loss = 0.0  # running loss of the current epoch
        self.seconds = 0.0
        self.precision: Precision | None = None  # None: not chosen yet
        self.rows: list[dict[str, float]] = []  # of the log

    def save(self, path: Path) -> None:
        """Write the file; a crash leaves the old one or the new one."""
        states = {name: part.state_dict() for name, part in self.parts.items()}
        progress = {
            "epoch": self.epoch,
            "step": self.step,
            "loss": self.loss,
            "seconds": self.seconds,
            "precision": self.precision,
            "rows": self.rows,
        }
        save_torch_file(states | progress | {"identity": dict(self.identity)}, path)

    def load(self, path: Path) -> None:
        """Continue from the file ``path``, if there is one.

        Raises
        ------
        DataLoss
            The file is damaged.
        FailedPrecondition
            It was made by another plan, from other pictures, or by another version of fc7.
        """
        if not path.exists():
            return
        try:
            saved = torch.load(path, weights_only=True, map_location="cpu")
            # Earlier versions did not write every key.
            differing = [key for key, value in self.identity.items() if saved["identity"].get(key, value) != value]
        except Exception as error:  # the unpickler's own errors share no base
            raise _damaged(path, error) from error
        if differing:
            raise _made_otherwise(path, self._describe(differing, saved["identity"]))
        try:
            fits = all(
                name in saved and _layout(saved[name]) == _layout(part.state_dict())
                for name, part in self.parts.items()
            )
        except Exception as error:
            raise _damaged(path, error) from error
        if not fits:
            raise _made_otherwise(path, ["another version of fc7, whose network or optimizers differ"])
        try:
            for name, part in self.parts.items():
                part.load_state_dict(saved[name])
            self.epoch, self.step = int(saved["epoch"]), int(saved["step"])
            self.loss, self.seconds = float(saved["loss"]), float(saved["seconds"])
            self.precision, self.rows = saved["precision"], [dict(row) for row in saved["rows"]]
        except Exception as error:  # those of modules and optimizers share no base either
            raise _damaged(path, error) from error

    def _describe(self, differing: list[str], saved: Mapping[str, Any]) -> list[str]:
        plan = [f"{key} {saved[key]}, now {self.identity[key]}" for key in differing if key not in _MEANINGS]
        others = [_MEANINGS[key] for key in differing if key in _MEANINGS]
        return ([f"another plan ({'; '.join(plan)})"] if plan else []) + others


def is_milestone(epoch: int) -> bool:
    """Say whether the weights after ``epoch`` are kept: 1, 2, 5, 10, 20, 50, 100, ..."""
    while epoch % 10 == 0:
        epoch //= 10
    return epoch in _MILESTONES


def _layout(state: Mapping[str, Any]) -> tuple[list[int], dict[str, torch.Size]]:
    """Return what must agree between a saved part and the one that loads it: parameters per group, and shapes."""
    groups = [len(group["params"]) for group in state.get("param_groups", [])]
    return groups, {name: value.shape for name, value in state.items() if isinstance(value, Tensor)}


def _damaged(path: Path, error: Exception) -> DataLoss:
    return DataLoss(
        f"checkpoint {str(path)!r} is damaged ({error}). Delete it to begin the training anew", name=str(path)
    )


def _made_otherwise(path: Path, reasons: list[str]) -> FailedPrecondition:
    return FailedPrecondition(
        f"checkpoint {str(path)!r} was made with {' and '.join(reasons)}. "
        "Continue the run as it was begun, or name another checkpoint folder to begin anew",
        name=str(path),
    )
