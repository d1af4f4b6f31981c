"""Measure how well a network finds altered copies of pictures, and which alterations break its features.

    python bench/altered_copies.py FOLDER [MODEL ...]

FOLDER holds photographs, at any depth. MODEL is a shipped model or a bundle's folder; it defaults to all shipped ones.

Ten altered views are made of each photograph, the same in every run: half to nine tenths of the picture, turned by up
to 15 degrees, half of them mirrored, a third grey, saved as JPEG with a shorter side of 160 pixels.

The first table searches all views for each photograph, by cosine. precision@10 is the share of the ten nearest that
are its own views. recall is the share of its views that score higher than all but one in 10,000 of the other views.
The second table has one row per kind and strength of alteration. Its figure is the share of altered pictures whose
nearest photograph is the right one, among at most 500 photographs, a fixed random choice; the layer is the model's
default. Needs 'fc7[cpu,train]'.
"""

from __future__ import annotations

import io
import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from fc7.cli.folder_scan import FolderScan
from fc7.cli.image_arguments import find_images
from fc7.drawing.pictures import open_upright
from fc7_models.data.inference import group_by_recipe, open_graph, open_model, read_batches
from fc7_service.bundle.bundle import Bundle
from fc7_service.bundle.folder import shipped_bundles

N_VIEWS, SIZE_PX, QUALITY = 10, 160, 90
PART, TURN_DEGREES, MIRRORED, GREY = (0.5, 0.9), 15.0, 1 / 2, 1 / 3  # part of the area
RARITY = 1e-4  # share of other photographs' views that may score higher
MAX_DIM = 2**14  # larger layers are maps rather than features
CURVES = 500  # photographs of the second table
SEED = 11

Features = dict[str, NDArray[np.float32]]
Alteration = Callable[[Image.Image, float], Image.Image]


def main() -> None:
    """Print both tables."""
    folder, *names = sys.argv[1:]
    photos = [file.path for file in find_images([Path(folder)], FolderScan())]
    some = [photos[i] for i in np.sort(np.random.default_rng(SEED).permutation(len(photos))[:CURVES])]
    bundles = [open_model(name) for name in names or shipped_bundles()]
    with tempfile.TemporaryDirectory() as temporary:
        files = write_views(photos, Path(temporary))
        print(f"{len(photos)} photographs, {len(files)} views of them\n")
        print("| model | layer | precision@10 | recall |\n|---|---|---|---|")
        for bundle in bundles:
            layers = [name for name, layer in bundle.layers.items() if layer.dim <= MAX_DIM and name != "logits"]
            asked, views = extract(bundle, photos, layers), extract(bundle, files, layers)
            for layer in layers:
                precision, recall = rate(asked[layer] @ views[layer].T)
                print(f"| {bundle.name} | {layer} | {precision:.3f} | {recall:.3f} |", flush=True)
        print("\n| alteration | strength | " + " | ".join(bundle.name for bundle in bundles) + " |")
        print("|---|---" + "|---" * len(bundles) + "|")
        plain = [extract(bundle, some, [bundle.default_layer])[bundle.default_layer] for bundle in bundles]
        for name, unit, strengths, alter in ALTERATIONS:
            for strength in strengths:
                altered = write(some, Path(temporary) / f"{name} {strength}", lambda image, i: alter(image, strength))  # noqa: B023
                shares = []
                for bundle, features in zip(bundles, plain, strict=True):
                    scores = extract(bundle, altered, [bundle.default_layer])[bundle.default_layer] @ features.T
                    shares.append((scores.argmax(1) == np.arange(len(some))).mean())
                figures = " | ".join(f"{share:.3f}" for share in shares)
                print(f"| {name} | {strength:g} {unit} | {figures} |", flush=True)


def write_views(photos: Sequence[Path], folder: Path) -> list[Path]:
    """Write the views of each photograph, one after another; return their files."""
    files = [write(photos, folder / str(n), lambda image, i: view(image, i, n)) for n in range(N_VIEWS)]  # noqa: B023
    return [file for views in zip(*files, strict=True) for file in views]


def write(photos: Sequence[Path], folder: Path, alter: Callable[[Image.Image, int], Image.Image]) -> list[Path]:
    """Write each photograph, altered, as JPEG; ``alter`` takes the upright RGB picture and its number."""
    folder.mkdir()

    def one(i: int) -> Path:
        file = folder / f"{i:06d}.jpg"
        alter(open_upright(photos[i]), i).save(file, quality=QUALITY)
        return file

    with ThreadPoolExecutor() as pool:
        return list(pool.map(one, range(len(photos))))


def view(image: Image.Image, photo: int, number: int) -> Image.Image:
    """Return a view: RGB, with a shorter side of ``SIZE_PX``."""
    rng = np.random.default_rng([SEED, photo, number])
    share, degrees = math.sqrt(rng.uniform(*PART)), rng.uniform(-TURN_DEGREES, TURN_DEGREES)
    width, height = share * image.width, share * image.height
    left, top = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
    image = turned(image, degrees, (left + width / 2, top + height / 2))
    image = image.crop((round(left), round(top), round(left + width), round(top + height)))
    if rng.random() < MIRRORED:
        image = ImageOps.mirror(image)
    if rng.random() < GREY:
        image = ImageOps.grayscale(image).convert("RGB")
    return scaled(image, SIZE_PX)


def scaled(image: Image.Image, px: float) -> Image.Image:
    """Resize the shorter side to ``px``."""
    share = px / min(image.size)
    return image.resize((round(image.width * share), round(image.height * share)), Image.Resampling.BICUBIC)


def turned(image: Image.Image, degrees: float, centre: tuple[float, float] | None = None) -> Image.Image:
    """Turn about a point, by default the centre; uncovered corners get the mean colour."""
    mean = tuple(int(value) for value in np.asarray(image).mean((0, 1)))
    return image.rotate(degrees, Image.Resampling.BICUBIC, center=centre, fillcolor=mean)


def cut(image: Image.Image, share: float) -> Image.Image:
    """Return the centre of the picture, this share of its area."""
    width, height = (round(math.sqrt(share) * side) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def compressed(image: Image.Image, quality: float) -> Image.Image:
    """Compress at ``SIZE_PX``."""
    file = io.BytesIO()
    scaled(image, SIZE_PX).save(file, "JPEG", quality=int(quality))
    return Image.open(file).convert("RGB")


def noisy(image: Image.Image, deviation: float) -> Image.Image:
    """Add normal noise to each value at ``SIZE_PX``."""
    pixels = np.asarray(scaled(image, SIZE_PX), np.float32)
    pixels = pixels + np.random.default_rng(SEED).normal(0, deviation, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def covered(image: Image.Image, share: float) -> Image.Image:
    """Cover the centre with a grey rectangle of this share of the area."""
    image = image.copy()
    half = (math.sqrt(share) * image.width / 2, math.sqrt(share) * image.height / 2)
    x, y = image.width / 2, image.height / 2
    ImageDraw.Draw(image).rectangle((x - half[0], y - half[1], x + half[0], y + half[1]), (128, 128, 128))
    return image


ALTERATIONS: tuple[tuple[str, str, tuple[float, ...], Alteration], ...] = (
    ("scaled to", "px", (128, 64, 48, 32, 24, 16), scaled),
    ("cut to", "of the area", (0.8, 0.6, 0.4, 0.3, 0.2, 0.1), cut),
    ("turned by", "degrees", (5, 10, 20, 30, 45, 90), turned),
    ("blurred by", "of the shorter side", (0.01, 0.02, 0.03, 0.05), lambda image, share: image.filter(
        ImageFilter.GaussianBlur(share * min(image.size)))),
    ("JPEG at 160 px, quality", "", (60, 30, 15, 8, 4), compressed),
    ("noise at 160 px, deviation", "of 255", (10, 20, 40, 80), noisy),
    ("covered", "of the area", (0.1, 0.2, 0.3, 0.5), covered),
)  # fmt: skip


def extract(bundle: Bundle, files: Sequence[Path], layers: Sequence[str]) -> Features:
    """Return the features of each layer, scaled to length one: float32 (N, D)."""
    run, features = open_graph(bundle.graph()), {}
    for recipe, names in group_by_recipe(bundle, layers).items():
        rows: list[Iterator[NDArray[np.float32]]] = []
        for batch in read_batches(files, recipe, lambda done, total: None):
            rows.append(iter(run(batch, names)))
        for name in names:
            values = np.concatenate([next(part).reshape(-1, bundle.layers[name].dim) for part in rows])
            features[name] = values / np.linalg.norm(values, axis=1, keepdims=True).clip(1e-12)
    return features


def rate(scores: NDArray[np.float32]) -> tuple[float, float]:
    """Return precision@10 and recall of scores (photographs, views); each photograph's views are adjacent columns."""
    is_own = np.arange(scores.shape[1])[None] // N_VIEWS == np.arange(len(scores))[:, None]
    nearest = np.argpartition(-scores, N_VIEWS, axis=1)[:, :N_VIEWS]
    limit = np.quantile(scores[~is_own], 1 - RARITY)
    return float(np.take_along_axis(is_own, nearest, 1).mean()), float((scores[is_own] > limit).mean())


if __name__ == "__main__":
    main()
