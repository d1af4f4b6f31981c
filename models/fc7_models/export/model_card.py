"""Write the model card: what a network was trained on, how, and how accurate it is."""

from __future__ import annotations

from fc7_models.training.optimizers import MOMENTUM, WEIGHT_DECAY
from fc7_models.training.recipes import TrainingRecipe, Views, find_recipe
from fc7_models.training.schedule import WARM_UP_SHARE, WARM_UP_STEPS
from fc7_models.training.trained_network import TrainedNetwork, TrainingRecord

_TEXT = """\
---
pipeline_tag: image-feature-extraction
---
# {name}

Network `{network}`, trained by fc7 from {start}. Its features are the layers before the softmax.

| | |
|---|---|
| Training pictures | {n_pictures:,}: {data}{near} |
| Classes | {classes} |
| Schedule | recipe `{recipe}`: {epochs} epochs, batch {batch}, {schedule}; seed {seed} |
| Optimiser | {optimiser} |
| Loss | {loss} |
| Augmentation | {augmentation} |
| Picture size | {px} pixels; training crops {crops} |
| Training time | {hours:.1f} hours on {machine} |
| Accuracy on {n_validation:,} held-out pictures, one view | top-1 {top1:.1%}, top-5 {top5:.1%} |
| Weights | stored in fp16, used in fp32 |
| Pictures in this bundle | only golden ones, drawn by a program; no training picture |

## Intended use

Features for similarity search and for softmax heads on new labels, for pictures like the training pictures. The
network has the biases of those. Not for identifying people, and not for decisions about them.
"""


_VIEWS: dict[Views, str] = {
    "affine": "crops, rotations, mirroring, brightness, saturation, grey",
    "distorted": "crops, rotations, mirroring, resampling, JPEG, blur, sharpening, brightness, saturation, grey",
    "crops": "random crops, mirroring",
    "ten crops": "corners and centre, mirroring",
    "whole": "none",
}


def write_card(trained: TrainedNetwork, name: str) -> str:
    """Return the card of a trained network, as Markdown."""
    record, plan = trained.record, trained.record.plan
    recipe = find_recipe(plan.recipe)
    return _TEXT.format(
        name=name,
        network=plan.network,
        start=_start(record),
        n_pictures=record.n_pictures,
        classes=f"{len(record.classes)}{' in the first folder' if plan.has_heads else ''}",
        data=record.data,
        near=f"; {record.n_near:,} left out because a held-out picture is nearly the same" if record.n_near else "",
        recipe=plan.recipe,
        epochs=record.epochs or plan.epochs,
        batch=plan.batch,
        schedule=_schedule(recipe, plan.peak_rate(record.n_pictures)),
        seed=plan.seed,
        optimiser=_optimiser(recipe),
        loss=_loss(recipe, plan.has_heads, record.teacher),
        augmentation=_augmentation(recipe),
        px=trained.network.recipe.crop_px,
        crops=_crops(trained, recipe),
        hours=record.seconds / 3600,
        machine=record.machine,
        n_validation=record.n_validation,
        top1=record.top1,
        top5=record.top5,
    )


def _start(record: TrainingRecord) -> str:
    runs = [
        f"{run.epochs} epochs of `{run.recipe}` on {run.n_pictures:,} pictures of {run.data} "
        f"({run.seconds / 3600:.1f} hours)"
        if run.epochs
        else f"the bundle {run.data}"
        for run in record.earlier
    ]
    return f"the weights of earlier runs ({'; then '.join(runs)})" if runs else "random weights"


def _crops(trained: TrainedNetwork, recipe: TrainingRecipe) -> str:
    plan, epochs = trained.record.plan, trained.record.epochs or trained.record.plan.epochs
    last_step = (epochs - 1e-6) / plan.epochs
    first, last = (
        recipe.crop_px_at(trained.network, done, has_start=bool(trained.record.earlier)) for done in (0, last_step)
    )
    return f"that grow from {first} to {last} pixels" if first < last else f"of {first} pixels"


def _schedule(recipe: TrainingRecipe, learning_rate: float) -> str:
    if recipe.schedule == "cosine":
        warm_up = f"warm-up {WARM_UP_SHARE:.0%} (at least {WARM_UP_STEPS} steps)"
        return f"peak learning rate {learning_rate:.3g}, {warm_up}, cosine"
    return f"learning rate {learning_rate}, divided by ten when the held-out error stops falling"


def _optimiser(recipe: TrainingRecipe) -> str:
    text = f"SGD, {'Nesterov ' if recipe.is_nesterov else ''}momentum {MOMENTUM}, weight decay {WEIGHT_DECAY}"
    if recipe.muon_learning_rate:
        text += f"; Muon with rate {recipe.muon_learning_rate} for filters followed by batch normalisation"
    if recipe.ema_decay:
        text += f", weight average {recipe.ema_decay}"
    if recipe.max_filter_rms:
        text += f", RMS of convolution filters at most {recipe.max_filter_rms}"
    return text


def _loss(recipe: TrainingRecipe, has_heads: bool, teacher: str) -> str:
    text = "softmax cross-entropy"
    if recipe.contrastive_weight:
        text += f", and {recipe.contrastive_weight} times that of matching {recipe.n_views} views of a picture"
    if recipe.label_smoothing:
        text += f", label smoothing {recipe.label_smoothing}"
    if teacher:
        text += f", and the distance to the features and logits of `{teacher}`"
    return f"{text}; one softmax per folder on shared layers, of which the first is kept" if has_heads else text


def _augmentation(recipe: TrainingRecipe) -> str:
    text = _VIEWS[recipe.views]
    return f"{text}, principal colours shifted by {recipe.colour_shift}" if recipe.colour_shift else text
