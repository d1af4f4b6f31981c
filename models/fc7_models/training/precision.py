"""The precision of a run: bf16 where that is faster, otherwise fp32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch

from fc7_models.training.process_group import ProcessGroup

Precision = Literal["fp32", "bf16"]
_MIN_SPEEDUP = 1.15  # of bf16 over fp32; a smaller difference may be chance


def choose_precision(processes: ProcessGroup, time_step: Callable[[Precision], float]) -> Precision:
    """Return the precision of a run, the same in every process.

    A GPU that supports bf16 uses it. On a CPU both are timed: bf16 is several times faster with AMX, and slower
    without.

    Parameters
    ----------
    processes
        The main one decides.
    time_step
        Returns the seconds of one training step.
    """
    if processes.device.type == "cuda":
        is_faster = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        is_faster = time_step("bf16") * _MIN_SPEEDUP < time_step("fp32")
    return "bf16" if processes.broadcast(is_faster) else "fp32"
