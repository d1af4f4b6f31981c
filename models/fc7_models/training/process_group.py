"""The processes of a run, one device each: this one alone, or those that torchrun started."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

_WAITS = datetime.timedelta(hours=24)  # for the first to decode all pictures; torch's own 10 or 30 minutes are too few


@dataclass(frozen=True, slots=True)
class Team:
    """A process among those of its run."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """The first writes the files."""
        return self.rank == 0

    @property
    def machine(self) -> str:
        """The devices, in words."""
        if self.device.type == "cuda":
            return f"{self.size} x {torch.cuda.get_device_name(self.device)}"
        return f"{self.size * torch.get_num_threads()} CPU threads"

    @contextlib.contextmanager
    def first_alone(self) -> Iterator[None]:
        """Let the others wait until the first has done what is inside; then they do it too."""
        if not self.is_first:
            distributed.barrier()
        yield
        if self.is_first and self.size > 1:
            distributed.barrier()

    def agree(self, value: float) -> float:
        """Return the first process's value in each."""
        if self.size == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, 0)
        return shared.item()

    def share(self, module: nn.Module) -> nn.Module:
        """Return the module whose gradients are the means over all processes.

        Batch statistics are shared on GPUs; on CPUs those of the first process are kept.
        """
        if self.size == 1:
            return module
        return DistributedDataParallel(module, broadcast_buffers=False)


def alone() -> Team:
    """Return a team of one: on the GPU, where there is one."""
    return Team(torch.device("cuda" if torch.cuda.is_available() else "cpu"))


@contextlib.contextmanager
def join_team() -> Iterator[Team]:
    """Meet the other processes, where torchrun started this one; part from them at the end."""
    if not distributed.is_torchelastic_launched():
        yield alone()
        return
    device = alone().device
    if device.type == "cuda":
        device = torch.device("cuda", distributed.get_node_local_rank())
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_WAITS)
    try:
        yield Team(device, distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
