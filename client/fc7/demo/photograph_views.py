"""Views of photographs: squares cut out, turned, mirrored, made grey, brightened or darkened."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fc7.drawing.pictures import open_upright
from fc7.errors import InvalidArgument

if TYPE_CHECKING:
    from PIL import Image

# Those pictures of scikit-image that its wheel holds and that are photographs, scans or drawings.
SCIKIT_IMAGE_FILES = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "clock_motion.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "horse.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "page.png",
    "retina.jpg",
    "rocket.jpg",
    "color.png",
    "text.png",
)
VIEWS_PER_PHOTOGRAPH = 66
VIEW_PX = 160
_SEED = 7
_SIDE = (1 / 3, 2 / 3)  # of the photograph's shorter side
_MAX_TURN = 20.0  # degrees, either way
_MIRRORED, _GREY = 1 / 2, 1 / 3  # shares of the views
_BRIGHTNESS = (0.6, 1.5)
_JPEG_QUALITY = 92


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph of which views are taken."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class PhotographView:
    """One view, written as a JPEG file."""

    path: Path
    photograph: str  # its name


def scikit_image_photographs() -> list[Photograph]:
    """Return twenty pictures that come with scikit-image."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    return [Photograph(Path(name).stem, folder / name) for name in SCIKIT_IMAGE_FILES]


def take_views(photographs: Sequence[Photograph], folder: Path, report: Callable[[int], None]) -> list[PhotographView]:
    """Write `VIEWS_PER_PHOTOGRAPH` views of each photograph. They are the same every time.

    Parameters
    ----------
    photographs
        In any format that Pillow opens.
    folder
        Gets one sub-folder per photograph.
    report
        Called with the number of photographs that are done.

    Raises
    ------
    InvalidArgument
        A photograph cannot be read.
    """
    views = []
    numbers = range(len(photographs))
    with ThreadPoolExecutor() as pool:
        for done, taken in enumerate(pool.map(lambda i: _views_of(photographs[i], i, folder), numbers), 1):
            views += taken
            report(done)
    return views


def _views_of(photograph: Photograph, number: int, folder: Path) -> list[PhotographView]:
    image = _open(photograph)
    views = []
    for i in range(VIEWS_PER_PHOTOGRAPH):
        path = folder / f"{number:04d}" / f"{i:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        random_view(image, np.random.default_rng([_SEED, number, i])).save(path, quality=_JPEG_QUALITY)
        views.append(PhotographView(path, photograph.name))
    return views


def _open(photograph: Photograph) -> Image.Image:
    from PIL import Image

    try:
        return open_upright(photograph.path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidArgument(
            f"the photograph {str(photograph.path)!r} cannot be read: {error}. Remove it from the folder",
            name=photograph.name,
        ) from error


def random_view(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return one view of an image: RGB, `VIEW_PX` on each side, all of it inside the image."""
    from PIL import Image, ImageEnhance, ImageOps

    side = rng.uniform(*_SIDE) * min(image.size)
    angle = rng.uniform(-_MAX_TURN, _MAX_TURN)
    turn = math.radians(abs(angle))
    # The turned square lies inside an upright one, `outer` px wide in the view's scale.
    outer = 2 * math.ceil(VIEW_PX * (math.cos(turn) + math.sin(turn)) / 2) + 4
    half = side / 2 * outer / VIEW_PX
    x, y = (rng.uniform(half, length - half) for length in image.size)
    # Scale before turning: turning does not average pixels.
    upright = image.resize((outer, outer), Image.Resampling.BICUBIC, (x - half, y - half, x + half, y + half))
    start = (outer - VIEW_PX) // 2
    square = upright.rotate(angle, Image.Resampling.BICUBIC).crop((start, start, start + VIEW_PX, start + VIEW_PX))
    if rng.random() < _MIRRORED:
        square = ImageOps.mirror(square)
    if rng.random() < _GREY:
        square = ImageOps.grayscale(square).convert("RGB")
    return ImageEnhance.Brightness(square).enhance(rng.uniform(*_BRIGHTNESS))
