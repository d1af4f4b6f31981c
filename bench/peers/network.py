"""The network of a peer: the same file, settings and preparation of pictures as in fc7."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from fc7_service.bundle.folder import open_model
from fc7_service.features.preprocess import preprocess

LAYER = "fc7"


def open_network(bundle: str, threads: int) -> tuple[int, Callable[[Any], Any], Callable[[Sequence[bytes]], Any]]:
    """Return the side of its pictures, what runs a batch of tensors, and what prepares a batch of files."""
    opened = open_model(bundle)
    recipe, options = opened.recipe_of(LAYER), ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(opened.graph(), options, providers=["CPUExecutionProvider"])
    return (
        recipe.crop_px,
        lambda batch: session.run([LAYER], {"image": batch})[0],
        lambda files: np.stack([preprocess(file, recipe) for file in files]),
    )
