"""What all figures and tables of the studies are made with: Matplotlib without a display, and CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fc7.errors import InvalidArgument

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def prepare_output(folder: Path) -> None:
    """Make the folder for the results, before the work that they take.

    Raises
    ------
    InvalidArgument
        A file has that name.
    ModuleNotFoundError
        Matplotlib is not installed.
    """
    import matplotlib.figure  # noqa: F401

    if folder.exists() and not folder.is_dir():
        raise InvalidArgument(f"output {str(folder)!r} is a file. Name a folder", name=str(folder))
    folder.mkdir(parents=True, exist_ok=True)


def write_table(rows: Sequence[Any], file: Path) -> None:
    """Write rows, dataclasses or mappings with the same names, as CSV with a header."""
    mappings: list[Mapping[str, Any]] = [asdict(row) if is_dataclass(row) else row for row in rows]  # type: ignore[arg-type]
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(mappings[0]))
        writer.writeheader()
        writer.writerows(mappings)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def show_image(axes: Axes, image: NDArray[Any], title: str = "") -> None:
    """Show pixels, (H, W) or (H, W, 3), without axes."""
    axes.imshow(image, cmap="magma", interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, fontsize="small")


def draw_means(
    axes: Axes, x: Sequence[float] | NDArray[Any], rows: Sequence[Any], mean: str, deviation: str, **style: Any
) -> None:
    """Draw the field ``mean`` of each row at ``x``, with the field ``deviation`` as error bars."""
    means, deviations = ([getattr(row, name) for row in rows] for name in (mean, deviation))
    axes.errorbar(x, means, deviations, capsize=3, **style)
    axes.grid(alpha=0.3)


def name_ticks(axes: Axes, names: Sequence[str]) -> None:
    """Name the places 0, 1, ... of the horizontal axis."""
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")


def contrast_limit(values: NDArray[np.float32]) -> float:
    """Return the value that becomes full contrast: few stronger pixels would otherwise darken all others."""
    return float(np.quantile(values, 0.995))
