"""The recipe: what happens between the bytes of an image and the tensor a network sees."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from fc7.errors import InvalidArgument

Triple = tuple[float, float, float]

# Per-channel mean and deviation of ImageNet's pixels on the scale 0..1, in R, G, B,
# as published with torchvision's weights.
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)

RECIPE_VERSION = 2  # of new recipes; earlier ones are computed as they always were


LARGEST_PX = 1024  # a batch of 32 such pictures has 400 MB
_LARGEST_INPUT = 1e6  # of a network; ordinary ones see 255 at most


@dataclass(frozen=True, slots=True)
class Recipe:
    """Preprocessing as data.

    Version 2 fixes, in this order:

    1. The first picture of a file. A picture at least twice as large as needed is read at 1/2, 1/4 or 1/8 of its
       size, never below twice ``resize_px``: a JPEG by fewer DCT coefficients, any other by averaging squares.
    2. RGB of 8 bits: of 16 bits the high byte, CMYK by Pillow's plain formula; colour profiles are ignored.
    3. What is transparent is laid on white.
    4. The orientation of EXIF (of XMP where EXIF has none) is applied.
    5. The shorter side is brought to ``resize_px`` with Pillow's antialiased bilinear filter, and the centre square
       of ``crop_px`` is cut.
    6. ``(value * scale - mean) / std`` as float32 in channel order R, G, B and layout (3, ``crop_px``, ``crop_px``).

    Version 1 differs in three things: transparency is dropped, so that the colour below it shows; only a JPEG is read
    at a reduced scale; and a JPEG with other pictures behind it (MPO) is not.
    """

    resize_px: int
    crop_px: int
    scale: float
    mean: Triple
    std: Triple
    version: int = RECIPE_VERSION

    def in_version(self, version: int) -> Recipe:
        """Return the recipe as an earlier or later version of fc7 computes it."""
        return replace(self, version=version)

    def with_crop(self, crop_px: int) -> Recipe:
        """Return the recipe with another crop."""
        return replace(self, crop_px=crop_px)

    def with_margin(self) -> Recipe:
        """Return the recipe with room for the crop to move: if there is none, resize_px is 256/224 of crop_px."""
        is_wide = self.resize_px > self.crop_px
        return self if is_wide else replace(self, resize_px=round(self.crop_px * 256 / 224))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, version included."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """Read the JSON form.

        Raises
        ------
        InvalidArgument
            A field is missing, unknown or out of range, or the version is newer.
        """
        fields = dict(values)
        version = fields.get("version")
        if type(version) is not int or not 1 <= version <= RECIPE_VERSION:
            raise InvalidArgument(f"recipe version {version!r} is not one of 1 to {RECIPE_VERSION}: update fc7")
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
                f"recipe is out of range: crop_px is {recipe.crop_px}, resize_px {recipe.resize_px}, scale "
                f"{recipe.scale:g}, std {recipe.std}; 0 < crop_px <= resize_px <= {LARGEST_PX}, scale > 0, std > 0"
            )
        recipe._check_numbers()
        return recipe

    def _check_numbers(self) -> None:
        """Refuse numbers that make all pictures alike, or so large that a network answers NaN."""
        for mean, std in zip(self.mean, self.std, strict=True):
            span = 255 * self.scale / std
            if not 1 / _LARGEST_INPUT <= span <= _LARGEST_INPUT or abs(mean / std) > _LARGEST_INPUT:
                raise InvalidArgument(
                    f"recipe is out of range: with scale {self.scale:g}, mean {mean:g} and std {std:g} black becomes "
                    f"{-mean / std:g} and white {span - mean / std:g}; they differ by 1e-6 at least, and stay below 1e6"
                )

    def digest(self) -> str:
        """Return the SHA-256 (hex) of the canonical JSON form."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _size(value: Any) -> int:
    if type(value) is not int:  # True is no size
        raise ValueError(f"{value!r} is no whole number")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no finite number")
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
