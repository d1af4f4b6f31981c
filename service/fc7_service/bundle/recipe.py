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

RECIPE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Recipe:
    """Preprocessing as data.

    Version 1 fixes, in this order: decode (a JPEG at least twice as large as
    needed is decoded at a reduced DCT scale, never below twice ``resize_px``),
    apply the EXIF orientation, convert to RGB (alpha dropped, 16-bit grey
    shifted to 8 bits), bring the shorter side to ``resize_px`` with Pillow's
    antialiased bilinear filter, cut the centre square of ``crop_px``, then
    ``(value * scale - mean) / std`` as float32 in channel order R, G, B and
    layout (3, ``crop_px``, ``crop_px``).
    """

    resize_px: int
    crop_px: int
    scale: float
    mean: Triple
    std: Triple

    def with_crop(self, crop_px: int) -> Recipe:
        """Return the recipe with another crop."""
        return replace(self, crop_px=crop_px)

    def with_margin(self) -> Recipe:
        """Return the recipe with room for the crop to move: if there is none, resize_px is 256/224 of crop_px."""
        is_wide = self.resize_px > self.crop_px
        return self if is_wide else replace(self, resize_px=round(self.crop_px * 256 / 224))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, version included."""
        return {"version": RECIPE_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """Read the JSON form.

        Raises
        ------
        InvalidArgument
            A field is missing, unknown or out of range, or the version is newer.
        """
        fields = dict(values)
        if fields.pop("version", None) != RECIPE_VERSION:
            raise InvalidArgument(f"recipe version {values.get('version')!r} is not {RECIPE_VERSION}: update fc7")
        try:
            for name, read in _READERS.items():
                fields[name] = read(fields[name])
            recipe = cls(**fields)
        except KeyError as error:
            raise InvalidArgument(f"recipe is malformed: {error} is missing") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidArgument(f"recipe is malformed: {error}") from error
        if not 0 < recipe.crop_px <= recipe.resize_px <= 4096 or min(recipe.scale, *recipe.std) <= 0:
            raise InvalidArgument("recipe is out of range: 0 < crop_px <= resize_px <= 4096, scale > 0, std > 0")
        return recipe

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
