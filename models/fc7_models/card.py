"""The model card: what a network was trained on, how, and how well it does."""

from __future__ import annotations

from fc7_models import train
from fc7_models.train import Trained

_TEXT = """\
---
license: apache-2.0
pipeline_tag: image-feature-extraction
---
# {name}

Network `{network}`, trained by fc7 from random weights; features are read before the softmax.

| | |
|---|---|
| Training pictures | {n_pictures:,} of {n_classes} classes: {data} |
| Schedule | {epochs} epochs, batch {batch}, peak learning rate {rate}, warm-up {warm_up:.0%}, cosine; seed {seed} |
| Optimiser | SGD, Nesterov momentum {momentum}, weight decay {decay}, weight average {average} |
| Loss | softmax cross-entropy, label smoothing {smoothing} |
| Augmentation | crops, turns, mirroring, brightness, saturation, grey |
| Picture size | {px} pixels; training crops grow to {share:.0%} of it |
| Training time | {hours:.1f} hours on {machine} |
| Accuracy on {n_validation:,} held-out pictures, one view | top-1 {top1:.1%}, top-5 {top5:.1%} |
| Weights | stored as fp16, computed with in fp32 |

## Intended use

Features of everyday photographs for similarity search and for softmax heads on new labels.
Not for identifying people, nor for decisions about them. The pictures it learnt from show objects,
animals, food and places as the web had them around 2010, with the biases of that selection.

## Licence

The weights: Apache-2.0. The training pictures are not part of this bundle; the golden pictures
are drawn by a program.
"""


def write_card(trained: Trained, name: str) -> str:
    """Return the card of ``trained``, Markdown."""
    facts, plan = trained.facts, trained.facts.plan
    return _TEXT.format(
        name=name,
        network=plan.network,
        n_pictures=facts.n_pictures,
        n_classes=len(facts.classes),
        data=facts.data,
        epochs=plan.epochs,
        batch=plan.batch,
        momentum=train.MOMENTUM,
        rate=plan.learning_rate,
        warm_up=train.WARM_UP,
        decay=train.WEIGHT_DECAY,
        smoothing=train.LABEL_SMOOTHING,
        average=train.AVERAGE,
        share=train.GROWTH[-1][1] if trained.network.is_any_size else 1.0,
        px=trained.network.recipe.crop_px,
        seed=plan.seed,
        hours=facts.seconds / 3600,
        machine=facts.machine,
        n_validation=facts.n_validation,
        top1=facts.top1,
        top5=facts.top5,
    )
