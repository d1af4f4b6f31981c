"""Images made from arrays: projections to pixels, heat maps, maps of classes."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fc7.drawing.page import INK, LINE_PX, PANEL_PX, TEXT_PX
from fc7.drawing.text import fit, load_font

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

_HEAT = ("#0d0887", "#7e03a8", "#cc4778", "#f89540", "#f0f921")  # low to high, as in matplotlib's plasma
_ROUNDING = 1e-5  # of a projection's peak: what rounding may leave in pixels outside the unit's field
_FULL_CONTRAST = 0.995  # quantile of a projection's absolute values: single pixels above it would darken the rest


def projection_image(pixels: NDArray[np.float32], side_px: int = PANEL_PX) -> Image.Image:
    """Return a projection (P, P, 3) at full contrast; zero is grey."""
    from PIL import Image

    strength = np.abs(pixels)
    is_seen = strength > _ROUNDING * strength.max()
    full = float(np.quantile(strength[is_seen], _FULL_CONTRAST)) if is_seen.any() else 1.0
    grey = np.clip(127.5 + 127.5 * pixels / full, 0, 255).astype(np.uint8)
    return Image.fromarray(grey).resize((side_px, side_px), Image.Resampling.BICUBIC)


def heat_map(values: NDArray[np.float32], low: float | None = None) -> Image.Image:
    """Return values (h, w) as colours, from ``low`` to their largest. ``low`` defaults to their smallest."""
    from PIL import ImageColor

    least = float(values.min()) if low is None else low
    relative = (values - least) / max(float(values.max()) - least, 1e-12)
    anchors = np.array([ImageColor.getrgb(colour) for colour in _HEAT], float)  # (5, 3)
    positions = np.linspace(0, 1, len(_HEAT))
    colours = np.stack([np.interp(relative, positions, anchors[:, channel]) for channel in range(3)], axis=-1)
    return _enlarged(colours.round().astype(np.uint8))


def class_map(classes: NDArray[np.int64], n_classes: int) -> Image.Image:
    """Return a map (h, w) of class numbers, each class in its own colour."""
    return _enlarged(np.array(_class_colours(n_classes), np.uint8)[classes])


def class_legend(labels: Sequence[str], counts: Sequence[int]) -> Image.Image:
    """Return the labels of a `class_map` with their colours, the most frequent first, as many as fit."""
    from PIL import Image, ImageDraw

    legend, colours = Image.new("RGB", (PANEL_PX, PANEL_PX), "white"), _class_colours(len(labels))
    pen = ImageDraw.Draw(legend)
    by_count = sorted(range(len(labels)), key=lambda i: -counts[i])
    for row, i in enumerate(by_count[: PANEL_PX // LINE_PX]):
        top = row * LINE_PX
        pen.rectangle((0, top + 2, 12, top + 14), fill=colours[i])
        text = fit(f"{labels[i]} ({counts[i]})", PANEL_PX - 18, TEXT_PX)
        pen.text((18, top), text, INK, font=load_font(TEXT_PX))
    return legend


def _class_colours(count: int) -> list[tuple[int, ...]]:
    """Return different colours; those of neighbouring hues differ in strength, too."""
    colours = [colorsys.hsv_to_rgb(i / count, 0.45 + 0.25 * (i % 2), 0.95 - 0.2 * (i % 3)) for i in range(count)]
    return [tuple(round(255 * part) for part in colour) for colour in colours]


def _enlarged(colours: NDArray[np.uint8]) -> Image.Image:
    from PIL import Image

    return Image.fromarray(colours).resize((PANEL_PX, PANEL_PX), Image.Resampling.NEAREST)
