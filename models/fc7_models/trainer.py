"""A network in training: its batches, a step, the running average of its weights."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fc7.errors import InvalidArgument
from fc7_models.augment import AUGMENTATIONS, DRAWS, principal_colours, shift_colours
from fc7_models.networks import Network
from fc7_models.pictures import Pictures
from fc7_models.recipes import Plateau, TrainingRecipe, cosine, limit_filters, make_optimizers
from fc7_models.state import Part, Precision
from fc7_models.team import Team
from fc7_models.trained import Plan, Trained

_COLOURS_FROM = 1000  # pictures whose colours stand for all
_TIMED = 3  # steps, of which the fastest counts


@dataclass(frozen=True, slots=True)
class Job:
    """A plan with what its names stand for."""

    plan: Plan
    network: Network
    recipe: TrainingRecipe


class Trainer:
    """One process's share of a run.

    Raises
    ------
    InvalidArgument
        There are fewer pictures than processes.
    """

    def __init__(self, job: Job, pictures: Pictures, team: Team) -> None:
        self.plan, self.network, self.recipe = plan, network, recipe = job.plan, job.network, job.recipe
        self.pictures, self.team = pictures, team
        if len(pictures) < team.size:
            raise InvalidArgument(
                f"{len(pictures)} pictures for {team.size} processes: each learns from one a step at least, "
                "so start fewer processes",
                name="pictures",
            )
        self.precision: Precision = "fp32"
        self.batch = max(1, min(plan.batch, len(pictures) // team.size))  # of this process
        self.n_steps = len(pictures) // (self.batch * team.size)  # an epoch
        torch.manual_seed(plan.seed)
        module = network.build(pictures.n_outputs)
        if team.size > 1 and team.device.type == "cuda":
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        self.module: nn.Module = module.to(team.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # untyped
        self.average = AveragedModel(self.module, multi_avg_fn=averaging(recipe.average), use_buffers=True)
        self.optimizers = make_optimizers(self.module, recipe, plan.peak_rate(len(pictures)))
        self.plateau = Plateau()
        self._shared = team.share(self.module)
        if recipe.colour_noise:
            rows = np.linspace(0, len(pictures) - 1, min(len(pictures), _COLOURS_FROM)).astype(np.int64)
            self._colours = principal_colours(pictures.gather(rows)[:, ::4, ::4]).to(team.device)

    @property
    def parts(self) -> dict[str, Part]:
        """What a resumed run needs."""
        return {
            "module": self.module,
            "average": self.average,
            "plateau": self.plateau,
            **{f"optimizer{i}": optimizer for i, optimizer in enumerate(self.optimizers)},
        }

    def begin_with(self, earlier: Trained) -> None:
        """Take over the weights of a network; the last layer's only where it has the same classes."""
        weights = earlier.module.state_dict()
        if self.pictures.heads != [earlier.facts.classes]:
            weights |= {name: value for name, value in self.module.state_dict().items() if name.startswith("fc8.")}
        self.module.load_state_dict(weights)

    @property
    def learning_rate(self) -> float:
        """The present one."""
        return float(self.optimizers[0].param_groups[0]["lr"])

    def set_rate(self, step: int) -> None:
        """Set the learning rate of a step, counted through all epochs."""
        n_steps = self.n_steps * self.plan.epochs
        share = cosine(step, n_steps) if self.recipe.schedule == "cosine" else self.plateau.share
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["lr"] = group["initial_lr"] * share

    def size_px(self, epoch: int) -> int:
        """Return the side of the views of an epoch."""
        return self.recipe.size_px(self.network, epoch / self.plan.epochs)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield this process's share of each batch: float32 (N, 3, H, W), and outputs int64 (N,).

        One thread reads the next pictures meanwhile. All randomness of an epoch comes from seed
        and epoch alone, so that a run can go on from the end of any.
        """
        seed, team = self.plan.seed, self.team
        torch.manual_seed((seed * 1_000_003 + epoch) * team.size + team.rank)  # for dropout
        order = np.random.default_rng([seed, epoch]).permutation(len(self.pictures))
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        n, size_px = self.batch * team.size, self.size_px(epoch)
        mine = slice(team.rank * self.batch, (team.rank + 1) * self.batch)
        self._shared.train()
        with ThreadPoolExecutor(1) as reader:
            shares = [order[i * n : (i + 1) * n][mine] for i in range(self.n_steps)]
            ahead = reader.submit(self._read, shares[0])
            for i, rows in enumerate(shares):
                pixels = ahead.result()
                if i + 1 < len(shares):
                    ahead = reader.submit(self._read, shares[i + 1])
                draws = torch.rand(n, DRAWS, generator=generator)[mine]
                yield self._views(pixels, size_px, draws), self.pictures.labels[rows].to(team.device)

    def step(self, x: Tensor, labels: Tensor) -> float:
        """Learn from a batch; return its loss."""
        self.module.zero_grad(set_to_none=True)
        value = self._loss(self._shared, x, labels, self.precision)
        value.backward()
        with self._autocast(self.precision):
            for optimizer in self.optimizers:
                optimizer.step()
        if self.recipe.max_filter_rms:
            limit_filters(self.module, self.recipe.max_filter_rms)
        self.average.update_parameters(self.module)
        return value.item()

    def seconds_of_step(self, precision: Precision) -> float:
        """Return how long a step takes that leaves no trace."""
        module, px = copy.deepcopy(self.module).train(), self.size_px(0)
        x = torch.rand(self.batch, 3, px, px, device=self.team.device).contiguous(memory_format=torch.channels_last)
        labels = self.pictures.labels[: self.batch].to(self.team.device)
        times = []
        for _ in range(_TIMED):
            began = time.perf_counter()
            self._loss(module, x, labels, precision).backward()
            times.append(time.perf_counter() - began)
        return min(times)

    def accuracy(self, pixels: NDArray[np.uint8], labels: Tensor) -> tuple[float, float]:
        """Return top-1 and top-5 accuracy of the averaged network; see ``accuracy``."""
        module = self.result().to(self.team.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # untyped
        return accuracy(module, self.network, pixels, labels)

    def result(self) -> nn.Module:
        """Return the averaged network with the first head alone, for inference on the CPU."""
        n_classes = len(self.pictures.heads[0])
        weights = {name: value.cpu() for name, value in self.average.module.state_dict().items()}
        weights |= {name: value[:n_classes] for name, value in weights.items() if name.startswith("fc8.")}
        module = self.network.build(n_classes)
        module.load_state_dict(weights)
        return module.eval()

    def _read(self, rows: NDArray[np.int64]) -> Tensor:
        pixels = torch.from_numpy(self.pictures.gather(rows))
        return pixels.pin_memory() if self.team.device.type == "cuda" else pixels  # pinned, a GPU fetches by itself

    def _views(self, pixels: Tensor, size_px: int, draws: Tensor) -> Tensor:
        recipe, draws = self.recipe, draws.to(self.team.device)
        x = pixels.to(self.team.device, non_blocking=True).permute(0, 3, 1, 2)  # channels last in memory
        x = AUGMENTATIONS[recipe.views](x, size_px, draws)
        if recipe.colour_noise:
            x = shift_colours(x, self._colours, recipe.colour_noise, draws)
        return normalise(x, self.network)

    def _autocast(self, precision: Precision) -> torch.autocast:
        return torch.autocast(self.team.device.type, torch.bfloat16, enabled=precision == "bf16")

    def _loss(self, module: nn.Module, x: Tensor, labels: Tensor, precision: Precision) -> Tensor:
        """Return the mean cross-entropy, each picture's among the classes of its own head."""
        with self._autocast(precision):
            logits = module(x)["logits"].float()
        total = logits.new_zeros(())
        for first, end in self.pictures.spans:
            mine = (first <= labels) & (labels < end)
            if mine.any():
                total = total + nn.functional.cross_entropy(
                    logits[mine, first:end],
                    labels[mine] - first,
                    label_smoothing=self.recipe.label_smoothing,
                    reduction="sum",
                )
        return total / len(labels)


def averaging(decay: float) -> Callable[[Any, Any, Tensor | int], None]:
    """Return how an average of weights takes those of a step: of few steps it keeps no initial weights."""

    def average(averages: Any, weights: Any, n_averaged: Tensor | int) -> None:
        n = int(n_averaged)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averages, weights, n)

    return average


@torch.inference_mode()
def accuracy(module: nn.Module, network: Network, pixels: NDArray[np.uint8], labels: Tensor) -> tuple[float, float]:
    """Return top-1 and top-5 accuracy of a module in evaluation mode on centre crops; pixels uint8 (N, H, W, 3)."""
    device = next(module.parameters()).device
    first = (pixels.shape[1] - network.recipe.crop_px) // 2
    last = first + network.recipe.crop_px
    hits = np.zeros(2)
    for i in range(0, len(labels), 250):
        part = torch.tensor(pixels[i : i + 250, first:last, first:last], device=device).permute(0, 3, 1, 2)
        logits = module(normalise(part.float(), network))["logits"].cpu()
        right = logits.topk(min(5, logits.shape[1])).indices == labels[i : i + 250, None]
        hits += right[:, 0].sum().item(), right.any(1).sum().item()
    return float(hits[0] / len(labels)), float(hits[1] / len(labels))


def normalise(x: Tensor, network: Network) -> Tensor:
    """Return what the network sees of pixels: float32 (N, 3, H, W) in 0..255, by its recipe."""
    mean = x.new_tensor(network.recipe.mean).view(1, 3, 1, 1)
    std = x.new_tensor(network.recipe.std).view(1, 3, 1, 1)
    return ((x * network.recipe.scale - mean) / std).contiguous(memory_format=torch.channels_last)
