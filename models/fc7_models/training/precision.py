"""Which numbers to compute with: bf16 where it is faster, fp32 elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import torch

from fc7_models.training.checkpoint import Precision
from fc7_models.training.process_group import Team

_GAIN = 1.15  # bf16 must be this much faster: less may be chance


def choose_precision(team: Team, seconds_of_step: Callable[[Precision], float]) -> Precision:
    """Return the precision of a run, the same in each process.

    A GPU that has bf16 takes it. On a CPU both are timed: with AMX bf16 is several times
    faster, without it slower.
    """
    if team.device.type == "cuda":
        is_faster = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        is_faster = seconds_of_step("bf16") * _GAIN < seconds_of_step("fp32")
    return "bf16" if team.agree(is_faster) else "fp32"
