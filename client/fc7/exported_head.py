"""The folder of an exported head: one ONNX file, and what runs it without fc7."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.errors import AlreadyExists, FailedPrecondition

N_GOLDEN = 4  # pictures whose probabilities are written beside the model

# Follows version 2 of fc7's recipe, except that pictures of 16 bits per channel are not supported.
RUN = '''"""Classify pictures: python run.py PICTURE ...  Without a PICTURE, check that the model answers as it did."""
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

HERE = Path(__file__).parent
RECIPE, LABELS, GOLDEN = (json.loads((HERE / f"{name}.json").read_text()) for name in ("recipe", "labels", "golden"))
SESSION = onnxruntime.InferenceSession(str(HERE / "model.onnx"), providers=["CPUExecutionProvider"])


def prepare(path):
    image, side = Image.open(path), RECIPE["resize_px"]
    whole, factor = image.size, max(n for n in (1, 2, 4, 8) if n == 1 or min(image.size) >= 2 * n * side)
    image.draft("RGB", (image.width // factor, image.height // factor))
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    rgb = image.convert("RGB")
    rgb = ImageOps.exif_transpose(rgb.reduce(factor) if factor > 1 and image.size == whole else rgb)
    size = [max(side, round(n * side / min(rgb.size))) for n in rgb.size]
    start = [(n - RECIPE["crop_px"]) // 2 for n in size]
    box = [p * n / s for p, n, s in zip([*start, *(p + RECIPE["crop_px"] for p in start)], 2 * rgb.size, 2 * size)]
    pixels = np.asarray(rgb.resize((RECIPE["crop_px"],) * 2, Image.Resampling.BILINEAR, box=box), np.float32)
    mean, std = np.float32(RECIPE["mean"]), np.float32(RECIPE["std"])
    return ((pixels * np.float32(RECIPE["scale"]) - mean) / std).transpose(2, 0, 1)[None]


def classify(path):
    return SESSION.run(["probabilities"], {SESSION.get_inputs()[0].name: prepare(path)})[0][0]


for path in sys.argv[1:]:
    probabilities = classify(path)
    print(path, LABELS[probabilities.argmax()], f"{probabilities.max():.4f}", sep="\\t")
if len(sys.argv) == 1:
    worst = max(np.abs(classify(HERE / name) - wanted).max() for name, wanted in GOLDEN.items())
    print(f"largest difference of a probability: {worst:.1e}")
    sys.exit(int(worst > 1e-4))
'''


def check_absent(folder: Path) -> None:
    """Refuse a folder that exists.

    Raises
    ------
    AlreadyExists
        It exists.
    FailedPrecondition
        The folder above it does not.
    """
    if folder.exists():
        raise AlreadyExists(f"{str(folder)!r} exists. Name a new folder", name=str(folder))
    if not folder.parent.is_dir():
        raise FailedPrecondition(f"folder {str(folder.parent)!r} does not exist. Create it first", name=str(folder))


def golden_files(pixels: NDArray[np.uint8]) -> dict[str, bytes]:
    """Return reference pictures, uint8 (N, H, W, 3), as PNG files by name."""
    from PIL import Image

    files = {}
    for i, picture in enumerate(pixels[:N_GOLDEN]):
        data = io.BytesIO()
        Image.fromarray(picture).save(data, "PNG")
        files[f"golden-{i}.png"] = data.getvalue()
    return files


def write_exported(
    folder: Path,
    model: bytes,
    recipe: dict[str, Any],
    classes: Sequence[str],
    facts: dict[str, Any],
    pictures: Mapping[str, bytes],
    golden: Mapping[str, Sequence[float]],
) -> None:
    """Write the folder; it appears whole or not at all."""
    texts = {
        "recipe.json": json.dumps(recipe, indent=1),
        "labels.json": json.dumps(list(classes), indent=1),
        "head.json": json.dumps(facts, indent=1),
        "golden.json": json.dumps({name: list(values) for name, values in golden.items()}),
        "run.py": RUN,
    }
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent) as part:
        made = Path(part) / "head"
        made.mkdir()
        for name, data in {"model.onnx": model, **pictures}.items():
            (made / name).write_bytes(data)
        for name, text in texts.items():
            (made / name).write_text(text + ("" if text.endswith("\n") else "\n"), encoding="utf-8")
        os.replace(made, folder)
