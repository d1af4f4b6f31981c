"""The recipe: what happens between the bytes of an image and the tensor a network sees."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

from fc7.errors import InvalidArgument

Triple = tuple[float, float, float]

# Mean and standard deviation of ImageNet's pixels per channel (R, G, B), on the scale 0 to 1, as published with
# torchvision's weights.
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)

RECIPE_VERSION = 2  # of new recipes; fc7 still computes earlier versions as before

LARGEST_PX = 1024  # a batch of 32 images of this size takes 400 MB
_LARGEST_INPUT = 1e6  # that a network is given; ordinary recipes give at most 255


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an image becomes the input of a network.

    Version 2 has these steps:

    1. Read the first image of the file. If its shorter side is at least 4 times ``resize_px``, read it at 1/2, 1/4 or
       1/8 of its size, but never below twice ``resize_px``. A JPEG is then decoded with fewer DCT coefficients; other
       formats are averaged over squares of pixels.
    2. Convert to 8-bit RGB: keep the high byte of 16 bits, and convert CMYK with Pillow's plain formula. Colour
       profiles are ignored.
    3. Lay transparent parts on white.
    4. Turn the image as EXIF says, or as XMP says if EXIF says nothing.
    5. Resize the shorter side to ``resize_px`` with Pillow's antialiased bilinear filter, and cut out the centre
       square of ``crop_px``.
    6. Compute ``(value * scale - mean) / std`` as float32, shape (3, ``crop_px``, ``crop_px``), channels R, G, B.

    Version 1 differs in three ways. It drops transparency, so that the colour under it shows. It reads only JPEGs at
    a reduced size, and it reads a JPEG that holds several images (MPO) at full size.
    """

    resize_px: int
    crop_px: int
    scale: float
    mean: Triple
    std: Triple
    version: int = RECIPE_VERSION

    def in_version(self, version: int) -> Recipe:
        """Return the recipe with the steps of another version."""
        return replace(self, version=version)

    def with_crop(self, crop_px: int) -> Recipe:
        """Return the recipe with another crop."""
        return replace(self, crop_px=crop_px)

    def with_margin(self) -> Recipe:
        """Return a recipe that leaves room around the crop: if this one has none, resize to 256/224 of crop_px."""
        is_wide = self.resize_px > self.crop_px
        return self if is_wide else replace(self, resize_px=round(self.crop_px * 256 / 224))

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as a JSON object, with its version."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """Return the recipe of a JSON object.

        Raises
        ------
        InvalidArgument
            A field is missing, unknown or out of range, or the version is newer.
        """
        fields = dict(values)
        version = fields.get("version")
        if type(version) is not int or not 1 <= version <= RECIPE_VERSION:
            raise InvalidArgument(
                f"this fc7 reads recipe versions 1 to {RECIPE_VERSION} (got {version!r}). For a newer one, upgrade fc7"
            )
        try:
            for name, read in _READERS.items():
                fields[name] = read(fields[name])
            recipe = cls(**fields)
        except KeyError as error:
            raise InvalidArgument(f"recipe is malformed: {error} is missing") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidArgument(f"recipe is malformed: {error}") from error
        if not 0 < recipe.crop_px <= recipe.resize_px <= LARGEST_PX or min(recipe.scale, *recipe.std) <= 0:
            raise InvalidArgument(
                f"recipe must have 0 < crop_px <= resize_px <= {LARGEST_PX}, scale > 0 and std > 0 (got crop_px "
                f"{recipe.crop_px}, resize_px {recipe.resize_px}, scale {recipe.scale:g}, std {recipe.std})"
            )
        recipe._check_numbers()
        return recipe

    def _check_numbers(self) -> None:
        """Refuse numbers that make all images look alike, or that are so large that a network answers NaN."""
        for mean, std in zip(self.mean, self.std, strict=True):
            span = 255 * self.scale / std
            if not 1 / _LARGEST_INPUT <= span <= _LARGEST_INPUT or abs(mean / std) > _LARGEST_INPUT:
                raise InvalidArgument(
                    f"scale {self.scale:g}, mean {mean:g} and std {std:g} of the recipe turn black into "
                    f"{-mean / std:g} and white into {span - mean / std:g}. "
                    "The two must differ by at least 1e-6 and stay below 1e6"
                )

    @lru_cache  # noqa: B019  # every call asks for the digest of one of few recipes, which are small
    def digest(self) -> str:
        """Return the SHA-256 (hex) of the recipe as canonical JSON."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _size(value: Any) -> int:
    if type(value) is not int:  # True is not a size
        raise ValueError(f"{value!r} is not an integer")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return float(value)


def _triple(values: Any) -> Triple:
    r, g, b = (_number(v) for v in values)
    return (r, g, b)


_READERS: dict[str, Callable[[Any], Any]] = {
    "resize_px": _size,
    "crop_px": _size,
    "scale": _number,
    "mean": _triple,
    "std": _triple,
}
