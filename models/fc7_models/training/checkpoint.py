"""The state of a run, from which the next process goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from fc7.errors import DataLoss, FailedPrecondition
from fc7_models.training.trained_network import save_file

Precision = Literal["fp32", "bf16"]
_KEPT = (1, 2, 5)  # times a power of ten: the epochs whose weights are kept


class Part(Protocol):
    """A module, an optimizer, a schedule."""

    def state_dict(self) -> dict[str, Any]:
        """Return what ``load_state_dict`` takes."""

    def load_state_dict(self, state: Any, /) -> Any:
        """Go on from ``state``."""


class State:
    """Everything that a resumed run needs, saved as one file."""

    def __init__(self, parts: dict[str, Part], identity: dict[str, Any]) -> None:
        self.parts = parts
        self.identity = identity
        self.epoch = 0  # finished
        self.step = 0  # of the epoch that is under way
        self.loss = 0.0  # its running loss
        self.seconds = 0.0
        self.precision: Precision | None = None  # None: not chosen yet
        self.rows: list[dict[str, float]] = []  # of the log

    def save(self, path: Path) -> None:
        """Write the state at once or not at all."""
        states = {name: part.state_dict() for name, part in self.parts.items()}
        facts = {
            "epoch": self.epoch,
            "step": self.step,
            "loss": self.loss,
            "seconds": self.seconds,
            "precision": self.precision,
            "rows": self.rows,
        }
        save_file(states | facts | {"identity": self.identity}, path)

    def load(self, path: Path) -> None:
        """Take over the state in ``path``, if there is one.

        Raises
        ------
        DataLoss
            The file is damaged.
        FailedPrecondition
            It belongs to another plan or to other pictures.
        """
        if not path.exists():
            return
        try:
            saved = torch.load(path, weights_only=True, map_location="cpu")
            identity = saved["identity"]
        except Exception as error:  # the unpickler's own errors share no base
            raise _damaged(path, error) from error
        if identity != self.identity:
            raise FailedPrecondition(
                f"{str(path)!r} belongs to another plan or other pictures: name another checkpoint folder",
                name=str(path),
            )
        try:
            for name, part in self.parts.items():
                part.load_state_dict(saved[name])
            self.epoch, self.step = int(saved["epoch"]), int(saved["step"])
            self.loss, self.seconds = float(saved["loss"]), float(saved["seconds"])
            self.precision, self.rows = saved["precision"], [dict(row) for row in saved["rows"]]
        except Exception as error:  # those of modules and optimizers share no base either
            raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataLoss:
    return DataLoss(f"{str(path)!r} is damaged: delete it, and the training begins anew ({error})", name=str(path))


def is_kept(epoch: int) -> bool:
    """Say whether the weights after ``epoch`` are kept: 1, 2, 5, 10, 20, 50, 100, ..."""
    while epoch % 10 == 0:
        epoch //= 10
    return epoch in _KEPT
