"""Views of photographs for the demonstration: squares cut out, turned, mirrored, greyed, lit otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fc7.drawing.pictures import open_upright
from fc7.errors import InvalidArgument

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

# In scikit-image's wheel; its other pictures are downloaded when asked for, or no photographs.
PICTURES = (
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
N_VIEWS = 66  # a photograph; half of them are indexed, half are queries
SIZE = 160  # px
_SEED = 7
_SIDE = (1 / 3, 2 / 3)  # of the shorter side
_TURN = 20.0  # degrees, either way
_MIRRORED, _GREY = 1 / 2, 1 / 3
_BRIGHTNESS = (0.6, 1.5)


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph of which views are taken."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class View:
    """One view, written as a JPEG."""

    path: Path
    photo: str  # name of the photograph it was taken of


def scikit_image_photographs() -> list[Photograph]:
    """Return the twenty pictures of scikit-image."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    return [Photograph(Path(name).stem, folder / name) for name in PICTURES]


def take_views(photos: Sequence[Photograph], folder: Path, report: Callable[[int], None]) -> list[View]:
    """Write `N_VIEWS` views of each photograph below ``folder``, the same ones every time.

    Parameters
    ----------
    photos
        Photographs; any that Pillow opens.
    folder
        Gets one sub-folder a photograph.
    report
        Called with the number of photographs done.

    Raises
    ------
    InvalidArgument
        A photograph cannot be read.
    """
    views = []
    with ThreadPoolExecutor() as pool:
        for done, taken in enumerate(pool.map(lambda i: _of_one(photos[i], i, folder), range(len(photos))), 1):
            views += taken
            report(done)
    return views


def _of_one(photo: Photograph, number: int, folder: Path) -> list[View]:
    import numpy as np

    image = _open(photo)
    views = []
    for i in range(N_VIEWS):
        path = folder / f"{number:04d}" / f"{i:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        view(image, np.random.default_rng([_SEED, number, i])).save(path, quality=92)
        views.append(View(path, photo.name))
    return views


def _open(photo: Photograph) -> Image.Image:
    from PIL import Image

    try:
        return open_upright(photo.path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidArgument(f"photograph {str(photo.path)!r} cannot be read: {error}", name=photo.name) from error


def view(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return one view: RGB, ``SIZE`` squared."""
    from PIL import Image, ImageEnhance, ImageOps

    side = rng.uniform(*_SIDE) * min(image.size)
    angle = rng.uniform(-_TURN, _TURN)
    turn = math.radians(abs(angle))
    wide = 2 * math.ceil(SIZE * (math.cos(turn) + math.sin(turn)) / 2) + 4  # px of the upright square around it
    half = side / 2 * wide / SIZE
    x, y = (rng.uniform(half, length - half) for length in image.size)
    # Scaled first, so that nothing aliases.
    upright = image.resize((wide, wide), Image.Resampling.BICUBIC, (x - half, y - half, x + half, y + half))
    first = (wide - SIZE) // 2
    square = upright.rotate(angle, Image.Resampling.BICUBIC).crop((first, first, first + SIZE, first + SIZE))
    if rng.random() < _MIRRORED:
        square = ImageOps.mirror(square)
    if rng.random() < _GREY:
        square = ImageOps.grayscale(square).convert("RGB")
    return ImageEnhance.Brightness(square).enhance(rng.uniform(*_BRIGHTNESS))
