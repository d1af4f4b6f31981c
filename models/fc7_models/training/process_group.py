"""The processes that share a training run, one device each: a single one, or those that torchrun started."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

# The other processes wait while the main one decodes all pictures; torch's default of 10 or 30 minutes is too short.
_TIMEOUT = datetime.timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """The place of one process among those of its run."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files and prints."""
        return self.rank == 0

    @property
    def hardware(self) -> str:
        """The devices of all processes, in words."""
        if self.device.type == "cuda":
            return f"{self.size} x {torch.cuda.get_device_name(self.device)}"
        return f"{self.size * torch.get_num_threads()} CPU threads"

    @contextlib.contextmanager
    def main_first(self) -> Iterator[None]:
        """Run the block in the main process first, then in the others."""
        if not self.is_main:
            distributed.barrier()
        yield
        if self.is_main and self.size > 1:
            distributed.barrier()

    def broadcast(self, value: float) -> float:
        """Return the main process's value in every process."""
        if self.size == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, 0)
        return shared.item()

    def data_parallel(self, module: nn.Module) -> nn.Module:
        """Return a module whose gradients are averaged over all processes.

        On GPUs all processes share batch statistics; on CPUs those of the main process are kept.
        """
        if self.size == 1:
            return module
        return DistributedDataParallel(module, broadcast_buffers=False)


def single_process() -> ProcessGroup:
    """Return a group of this process alone, on the GPU if there is one."""
    return ProcessGroup(torch.device("cuda" if torch.cuda.is_available() else "cpu"))


@contextlib.contextmanager
def join_process_group() -> Iterator[ProcessGroup]:
    """Join the processes that torchrun started, and leave them at the end; without torchrun, run alone."""
    if not distributed.is_torchelastic_launched():
        yield single_process()
        return
    device = single_process().device
    if device.type == "cuda":
        device = torch.device("cuda", distributed.get_node_local_rank())
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_TIMEOUT)
    try:
        yield ProcessGroup(device, distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
