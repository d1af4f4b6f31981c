"""One process's share of a training run: its batches, its steps, and the running average of the weights."""

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
from fc7_models.training.checkpoint import Stateful
from fc7_models.training.distortion import N_DRAWS
from fc7_models.training.initial_weights import calibrate_batch_norm
from fc7_models.training.loss import contrastive_loss, cross_entropy_per_head
from fc7_models.training.optimizers import limit_filter_rms, make_optimizers
from fc7_models.training.plan import Plan
from fc7_models.training.precision import Precision
from fc7_models.training.process_group import ProcessGroup
from fc7_models.training.recipes import TrainingRecipe
from fc7_models.training.schedule import Plateau, cosine_factor
from fc7_models.training.teacher import Distillation, Teacher
from fc7_models.training.trained_network import TrainedNetwork

_COLOUR_SAMPLE = 1000  # pictures from which the principal colours are computed
_TIMED_STEPS = 3  # the fastest counts


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """A plan with the network and the recipe that it names."""

    plan: Plan
    network: Network
    recipe: TrainingRecipe
    teacher: Teacher | None = None


class Trainer:
    """One process's share of a training run.

    Raises
    ------
    InvalidArgument
        There are fewer pictures than processes.
    """

    def __init__(self, setup: TrainingSetup, pictures: TrainingSet, processes: ProcessGroup) -> None:
        self.plan, self.network, self.recipe = plan, network, recipe = setup.plan, setup.network, setup.recipe
        self.pictures, self.processes = pictures, processes
        if len(pictures) < processes.size:
            raise InvalidArgument(
                f"{len(pictures)} pictures are too few for {processes.size} processes: each needs one per step. "
                "Start fewer processes",
                name="pictures",
            )
        self.precision: Precision = "fp32"
        self.has_start = False
        n_views = recipe.n_views
        n_own = min(plan.batch // n_views, len(pictures) // processes.size)  # pictures of this process per step
        self.batch = n_views * max(1, n_own)  # views of this process per step
        self.n_steps = n_views * len(pictures) // (self.batch * processes.size)  # per epoch
        torch.manual_seed(plan.seed)
        module = network.build(pictures.n_outputs)
        if processes.size > 1 and processes.device.type == "cuda":
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        self.module: nn.Module = module.to(processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # untyped
        self.averaged = AveragedModel(self.module, multi_avg_fn=ramped_average(recipe.ema_decay), use_buffers=True)
        self.teacher = setup.teacher
        self.extra = nn.ModuleDict()  # layers that end with the training
        if self.teacher:
            units = self.module.get_submodule("fc7").out_features
            self.extra["distillation"] = Distillation(units, self.teacher.dims).to(processes.device)
        trained = nn.ModuleList([self.module, self.extra])
        self.optimizers = make_optimizers(trained, recipe, plan.peak_rate(n_views * len(pictures)))
        self.plateau = Plateau()
        self._parallel_module = processes.data_parallel(self.module)
        self._parallel_extra = {name: processes.data_parallel(part) for name, part in self.extra.items()}
        if recipe.colour_shift:
            rows = np.linspace(0, len(pictures) - 1, min(len(pictures), _COLOUR_SAMPLE)).astype(np.int64)
            pixels = [part[:, ::4, ::4].reshape(-1, 3) for _, part in pictures.gather(rows)]
            self._colours = principal_colours(np.concatenate(pixels)).to(processes.device)

    @property
    def parts(self) -> dict[str, Stateful]:
        """The parts that a checkpoint keeps, under their names in the file."""
        return {
            "module": self.module,
            "average": self.averaged,
            "plateau": self.plateau,
            **{f"optimizer{i}": optimizer for i, optimizer in enumerate(self.optimizers)},
            **self.extra,
        }

    def load_initial_weights(self, earlier: TrainedNetwork) -> None:
        """Take over the weights of a network; those of the last layer only if the first head has the same classes."""
        self.has_start = True
        weights = earlier.module.state_dict()
        for name, value in self.module.state_dict().items():
            if name.startswith("fc8."):
                known = weights[name] if self.pictures.heads[0] == earlier.record.classes else value[:0]
                weights[name] = torch.cat([known.to(value.device), value[len(known) :]])
        self.module.load_state_dict(weights)
        views, _ = next(self.batches(0))
        calibrate_batch_norm(self.module, views)

    @property
    def learning_rate(self) -> float:
        """The current learning rate of SGD."""
        return float(self.optimizers[0].param_groups[0]["lr"])

    def set_learning_rate(self, step: int) -> None:
        """Set the learning rate for a step, counted through all epochs."""
        n_steps = self.n_steps * self.plan.epochs
        factor = cosine_factor(step, n_steps) if self.recipe.schedule == "cosine" else self.plateau.factor
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["lr"] = group["initial_lr"] * factor

    def crop_px(self, step: int) -> int:
        """Return the side of the crops at a step, counted through all epochs."""
        done = step / (self.n_steps * self.plan.epochs)
        return self.recipe.crop_px_at(self.network, done, has_start=self.has_start)

    def batches(self, epoch: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield this process's share of each batch of an epoch, beginning with step ``first``.

        The views of one picture stand next to each other. A thread reads the next pictures in the meantime. All
        randomness depends only on the seed, the epoch and the step, so a run can continue from any step.

        Yields
        ------
        views
            float32 (N, 3, H, W), the network's input.
        labels
            int64 (N,), the output of each view's class.
        """
        seed, processes, n_views = self.plan.seed, self.processes, self.recipe.n_views
        order = np.random.default_rng([seed, epoch]).permutation(len(self.pictures))
        n = self.batch * processes.size
        own = slice(processes.rank * self.batch, (processes.rank + 1) * self.batch)
        self._parallel_module.train()
        with ThreadPoolExecutor(1) as reader:
            rows = order[: self.n_steps * n // n_views].repeat(n_views).reshape(self.n_steps, n)[:, own]
            next_read = reader.submit(self._read, rows[first])
            for i in range(first, self.n_steps):
                groups = next_read.result()
                if i + 1 < self.n_steps:
                    next_read = reader.submit(self._read, rows[i + 1])
                step_seed = (seed * 1_000_003 + epoch) * 1_000_003 + i
                draws = torch.rand(n, N_DRAWS, generator=torch.Generator().manual_seed(step_seed))[own]
                torch.manual_seed(step_seed * processes.size + processes.rank)  # for dropout
                crop_px = self.crop_px(epoch * self.n_steps + i)
                yield self._views(groups, crop_px, draws), self.pictures.labels[rows[i]].to(processes.device)

    def step(self, views: Tensor, labels: Tensor) -> float:
        """Learn from a batch and return its loss."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        with self._autocast(self.precision):
            layers = self._parallel_module(views)
        loss = self._loss(layers, labels)
        if self.teacher:
            answers = self.teacher.answer(views, self.network)
            loss = loss + self._parallel_extra["distillation"](layers["fc7"].float(), *answers)
        loss.backward()
        with self._autocast(self.precision):
            for optimizer in self.optimizers:
                optimizer.step()
        if self.recipe.max_filter_rms:
            limit_filter_rms(self.module, self.recipe.max_filter_rms)
        self.averaged.update_parameters(self.module)
        return loss.item()

    def time_step(self, precision: Precision) -> float:
        """Return the seconds of a step that changes nothing."""
        device, px = self.processes.device, self.crop_px(0)
        module = copy.deepcopy(self.module).train()
        views = torch.rand(self.batch, 3, px, px, device=device).contiguous(memory_format=torch.channels_last)
        labels = self.pictures.labels.repeat_interleave(self.recipe.n_views)[: self.batch].to(device)
        times = []
        for _ in range(_TIMED_STEPS):
            start = time.perf_counter()
            with self._autocast(precision):
                layers = module(views)
            self._loss(layers, labels).backward()
            times.append(time.perf_counter() - start)
        return min(times)

    def accuracy(self, pixels: NDArray[np.uint8], labels: Tensor) -> tuple[float, float]:
        """Return top-1 and top-5 accuracy of the averaged network; see ``measure_accuracy``."""
        module = self.averaged_network().to(self.processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # untyped
        return measure_accuracy(module, self.network, pixels, labels)

    def averaged_network(self) -> nn.Module:
        """Return the averaged network with only its first head, on the CPU and in evaluation mode."""
        n_classes = len(self.pictures.heads[0])
        weights = {name: value.cpu() for name, value in self.averaged.module.state_dict().items()}
        weights |= {name: value[:n_classes] for name, value in weights.items() if name.startswith("fc8.")}
        module = self.network.build(n_classes)
        module.load_state_dict(weights)
        return module.eval()

    def _read(self, rows: NDArray[np.int64]) -> list[tuple[Tensor, Tensor]]:
        """Return pictures grouped by folder: their places in the batch, and uint8 (n, px, px, 3)."""
        groups = [(torch.from_numpy(places), torch.from_numpy(part)) for places, part in self.pictures.gather(rows)]
        if self.processes.device.type == "cuda":  # a GPU copies pinned memory while it computes
            groups = [(places, part.pin_memory()) for places, part in groups]
        return groups

    def _views(self, groups: list[tuple[Tensor, Tensor]], crop_px: int, draws: Tensor) -> Tensor:
        """Return the augmented views of what ``_read`` returned, as the network's input."""
        recipe, device = self.recipe, self.processes.device
        views = torch.empty((len(draws), 3, crop_px, crop_px), device=device)
        for places, part in groups:
            pixels = part.to(device, non_blocking=True).permute(0, 3, 1, 2)  # channels last in memory
            views[places.to(device)] = AUGMENTATIONS[recipe.views](pixels, crop_px, draws[places])
        if recipe.colour_shift:
            views = shift_colours(views, self._colours, recipe.colour_shift, draws)
        return normalise(views, self.network)

    def _autocast(self, precision: Precision) -> torch.autocast:
        return torch.autocast(self.processes.device.type, torch.bfloat16, enabled=precision == "bf16")

    def _loss(self, layers: dict[str, Tensor], labels: Tensor) -> Tensor:
        recipe, spans = self.recipe, self.pictures.spans
        loss = cross_entropy_per_head(layers["logits"].float(), labels, spans, recipe.label_smoothing)
        if recipe.contrastive_weight:
            loss = loss + recipe.contrastive_weight * contrastive_loss(layers["conv5"].float(), recipe.n_views)
        return loss


def ramped_average(decay: float) -> Callable[[Any, Any, Tensor | int], None]:
    """Return the update of a running average whose decay rises to ``decay``, so that it forgets the first weights."""

    def update(averages: Any, weights: Any, n_averaged: Tensor | int) -> None:
        n = int(n_averaged)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averages, weights, n)

    return update


@torch.inference_mode()
def measure_accuracy(
    module: nn.Module, network: Network, pixels: NDArray[np.uint8], labels: Tensor
) -> tuple[float, float]:
    """Return top-1 and top-5 accuracy on centre crops.

    Parameters
    ----------
    module
        In evaluation mode.
    network
        Its recipe says how the pixels are cut and scaled.
    pixels
        uint8 (N, H, W, 3).
    labels
        int64 (N,).
    """
    device = next(module.parameters()).device
    first = (pixels.shape[1] - network.recipe.crop_px) // 2
    end = first + network.recipe.crop_px
    n_right = np.zeros(2)
    for i in range(0, len(labels), 250):
        part = torch.tensor(pixels[i : i + 250, first:end, first:end], device=device).permute(0, 3, 1, 2)
        logits = module(normalise(part.float(), network))["logits"].cpu()
        is_right = logits.topk(min(5, logits.shape[1])).indices == labels[i : i + 250, None]
        n_right += is_right[:, 0].sum().item(), is_right.any(1).sum().item()
    return float(n_right[0] / len(labels)), float(n_right[1] / len(labels))


def normalise(pixels: Tensor, network: Network) -> Tensor:
    """Return the network's input for pixels: float32 (N, 3, H, W) in 0..255, scaled by its recipe."""
    mean = pixels.new_tensor(network.recipe.mean).view(1, 3, 1, 1)
    std = pixels.new_tensor(network.recipe.std).view(1, 3, 1, 1)
    return ((pixels * network.recipe.scale - mean) / std).contiguous(memory_format=torch.channels_last)
