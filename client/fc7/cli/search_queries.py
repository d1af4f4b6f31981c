"""What a command line searches with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fc7.cli.image_arguments import as_text, read_query

if TYPE_CHECKING:
    from fc7 import Example, Features


@dataclass(slots=True)
class Asked:
    """The queries of a command line: images, ids and rows of features, each with the examples beside them."""

    images: tuple[Path | str, ...]
    ids: tuple[str, ...]
    names: list[str]  # of the rows of features
    features: Features | None
    crop: tuple[float, float, float, float] | None
    beside: list[Example]

    def titles(self) -> list[str]:
        """Return what to call each query."""
        images = [as_text(image) if isinstance(image, Path) else image for image in self.images]
        return [*images, *self.ids, *self.names] or ["examples"]

    def queries(self) -> list[list[Example]]:
        """Return the examples of each query."""
        from fc7 import Example

        first = [Example(read_query(image), crop=self.crop) for image in self.images]
        first += [Example(id=own) for own in self.ids]
        if self.features is not None:
            first += [Example(features=self.features[i]) for i in range(len(self.features))]
        return [[one, *self.beside] for one in first] or [self.beside]


def read_crop(
    context: click.Context, option: click.Parameter, value: str | None
) -> tuple[float, float, float, float] | None:
    """Return the four numbers of --crop."""
    if value is None:
        return None
    try:
        left, top, right, bottom = map(float, value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not LEFT,TOP,RIGHT,BOTTOM, such as 0,0,0.5,1") from None
    return left, top, right, bottom
