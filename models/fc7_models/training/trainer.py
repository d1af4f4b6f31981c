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
from fc7_models.data.training_set import TrainingSet
from fc7_models.networks import Network
from fc7_models.training.augmentation import AUGMENTATIONS, principal_colours, shift_colours
from fc7_models.training.checkpoint import Part, Precision
from fc7_models.training.distortion import DRAWS
from fc7_models.training.initial_weights import settle
from fc7_models.training.process_group import Team
from fc7_models.training.recipes import Plateau, TrainingRecipe, cosine, limit_filters, make_optimizers
from fc7_models.training.trained_network import Plan, Trained

_COLOURS_FROM = 1000  # pictures whose colours stand for all
TEMPERATURE = 0.1  # of ``likeness``, as in SimCLR
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

    def __init__(self, job: Job, pictures: TrainingSet, team: Team) -> None:
        self.plan, self.network, self.recipe = plan, network, recipe = job.plan, job.network, job.recipe
        self.pictures, self.team = pictures, team
        if len(pictures) < team.size:
            raise InvalidArgument(
                f"{len(pictures)} pictures for {team.size} processes: each learns from one a step at least, "
                "so start fewer processes",
                name="pictures",
            )
        self.precision: Precision = "fp32"
        self.has_start = False
        n_views = recipe.n_views
        self.batch = n_views * max(1, min(plan.batch // n_views, len(pictures) // team.size))  # views, of this process
        self.n_steps = n_views * len(pictures) // (self.batch * team.size)  # an epoch
        torch.manual_seed(plan.seed)
        module = network.build(pictures.n_outputs)
        if team.size > 1 and team.device.type == "cuda":
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        self.module: nn.Module = module.to(team.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # untyped
        self.average = AveragedModel(self.module, multi_avg_fn=averaging(recipe.average), use_buffers=True)
        self.optimizers = make_optimizers(self.module, recipe, plan.peak_rate(n_views * len(pictures)))
        self.plateau = Plateau()
        self._shared = team.share(self.module)
        if recipe.colour_noise:
            rows = np.linspace(0, len(pictures) - 1, min(len(pictures), _COLOURS_FROM)).astype(np.int64)
            few = [part[:, ::4, ::4].reshape(-1, 3) for _, part in pictures.gather(rows)]
            self._colours = principal_colours(np.concatenate(few)).to(team.device)

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
        """Take over the weights of a network; the last layer's only where the first head has the same classes."""
        self.has_start = True
        weights = earlier.module.state_dict()
        for name, value in self.module.state_dict().items():
            if name.startswith("fc8."):
                known = weights[name] if self.pictures.heads[0] == earlier.facts.classes else value[:0]
                weights[name] = torch.cat([known.to(value.device), value[len(known) :]])
        self.module.load_state_dict(weights)
        views, _ = next(self.batches(0))
        settle(self.module, views)

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

    def size_px(self, step: int) -> int:
        """Return the side of the views of a step, counted through all epochs."""
        done = step / (self.n_steps * self.plan.epochs)
        return self.recipe.size_px(self.network, done, has_start=self.has_start)

    def batches(self, epoch: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield this process's share of each batch: float32 (N, 3, H, W), and outputs int64 (N,).

        The views of a picture follow each other. One thread reads the next pictures meanwhile. All randomness comes
        from seed, epoch and step alone, so that a run can go on from any step; ``first`` is the one to begin with.
        """
        seed, team, n_views = self.plan.seed, self.team, self.recipe.n_views
        order = np.random.default_rng([seed, epoch]).permutation(len(self.pictures))
        n = self.batch * team.size
        mine = slice(team.rank * self.batch, (team.rank + 1) * self.batch)
        self._shared.train()
        with ThreadPoolExecutor(1) as reader:
            rows = order[: self.n_steps * n // n_views].repeat(n_views).reshape(self.n_steps, n)
            shares = rows[:, mine]
            ahead = reader.submit(self._read, shares[first])
            for i in range(first, self.n_steps):
                groups = ahead.result()
                if i + 1 < self.n_steps:
                    ahead = reader.submit(self._read, shares[i + 1])
                number = (seed * 1_000_003 + epoch) * 1_000_003 + i
                draws = torch.rand(n, DRAWS, generator=torch.Generator().manual_seed(number))[mine]
                torch.manual_seed(number * team.size + team.rank)  # for dropout
                size_px = self.size_px(epoch * self.n_steps + i)
                yield self._views(groups, size_px, draws), self.pictures.labels[shares[i]].to(team.device)

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
        labels = self.pictures.labels.repeat_interleave(self.recipe.n_views)[: self.batch].to(self.team.device)
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

    def _read(self, rows: NDArray[np.int64]) -> list[tuple[Tensor, Tensor]]:
        groups = [(torch.from_numpy(where), torch.from_numpy(part)) for where, part in self.pictures.gather(rows)]
        if self.team.device.type == "cuda":  # a GPU fetches by itself what is pinned
            groups = [(where, part.pin_memory()) for where, part in groups]
        return groups

    def _views(self, groups: list[tuple[Tensor, Tensor]], size_px: int, draws: Tensor) -> Tensor:
        """Return the views of pictures of several folders: their places in the batch, uint8 (n, px, px, 3)."""
        recipe, device = self.recipe, self.team.device
        x = torch.empty((len(draws), 3, size_px, size_px), device=device)
        for where, part in groups:
            pixels = part.to(device, non_blocking=True).permute(0, 3, 1, 2)  # channels last in memory
            x[where.to(device)] = AUGMENTATIONS[recipe.views](pixels, size_px, draws[where])
        if recipe.colour_noise:
            x = shift_colours(x, self._colours, recipe.colour_noise, draws)
        return normalise(x, self.network)

    def _autocast(self, precision: Precision) -> torch.autocast:
        return torch.autocast(self.team.device.type, torch.bfloat16, enabled=precision == "bf16")

    def _loss(self, module: nn.Module, x: Tensor, labels: Tensor, precision: Precision) -> Tensor:
        """Return the mean cross-entropy, each picture's among the classes of its own head, and that of likeness."""
        with self._autocast(precision):
            layers = module(x)
        logits = layers["logits"].float()
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
        total = total / len(labels)
        if self.recipe.likeness:
            total = total + self.recipe.likeness * likeness(layers["conv5"].float(), self.recipe.n_views)
        return total


def likeness(maps: Tensor, n_views: int) -> Tensor:
    """Return how badly the views of a picture find each other among those of a batch: a cross-entropy.

    Parameters
    ----------
    maps
        float32 (N, C, H, W), nowhere negative; the views of a picture follow each other.
    n_views
        Of each picture.

    References
    ----------
    Berman et al. 2019, "MultiGrain", for classes and views learnt together, and for generalised means as pooling;
    Chen et al. 2020, "SimCLR", equation 1, for the loss.
    """
    pooled = maps.clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3)
    features = nn.functional.normalize(pooled - pooled.mean(0), dim=1)
    scores = features @ features.T / TEMPERATURE
    others = scores - torch.diag(torch.full_like(scores[0], torch.inf))
    picture = torch.arange(len(maps), device=maps.device) // n_views
    same = (picture[:, None] == picture).fill_diagonal_(False)
    return -others.log_softmax(1)[same].mean()


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
