"""What the commands of `fc7 explain` share: options and files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fc7.cli.output import check_writable, print_note
from fc7.errors import FailedPrecondition, Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fc7 import ClassReason, Match, Place, Projection

image_argument = click.argument("image", type=click.Path(path_type=Path))
layer_option = click.option("--layer", default="conv5", show_default=True, help="Layer whose units are meant.")
head_option = click.option("--head", default="", help="Published head; without: the network's own classes.")
class_option = click.option("--class", "label", default="", metavar="LABEL", help="Class; without: the most probable.")
output_option = click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Drawing (.png, ...) or arrays (.npz).",
)
rule_option = click.option(
    "--rule",
    type=click.Choice(["deconv", "gradient", "guided"]),
    default="deconv",
    show_default=True,
    help="How a unit is carried down to the pixels.",
)


def check_result(output: Path | None) -> None:
    """Refuse, before the work, a file that could not be written after it."""
    if output is None:
        return
    if output.suffix != ".npz":
        from fc7.drawing.page import check_format

        check_format(output)
    check_writable(output)


def check_drawable(output: Path | None, found: Match | ClassReason) -> None:
    """Refuse to draw what has nothing but the picture itself; say where a part of a drawing is missing.

    Raises
    ------
    FailedPrecondition
        No unit is projected and the layer has no positions.
    """
    from fc7.explanations import Match

    side = found.query if isinstance(found, Match) else found
    if output is None or output.suffix == ".npz" or side.projections:
        return
    model, layer = found.provenance.model, found.unit_layer
    why = f"model {model!r} has no deconvnet for layer {layer!r}: its graph has branches, or its bundle is older"
    if side.positions is None:
        raise FailedPrecondition(
            f"nothing was drawn: {why}. The figures hold, and --output FILE.npz keeps them; `fc7 explain occlude` "
            "draws with every network",
            name=model,
            reason=Reason.NO_DECONVNET,
        )
    print_note(str(output), f"no unit is projected: {why}")


def write_result(
    output: Path, arrays: Mapping[str, NDArray[Any]], provenance: dict[str, str], draw: Callable[[Path], None]
) -> None:
    """Write the arrays or the drawing, whole or not at all."""
    import numpy as np

    part = output.with_name(f".part-{output.name}")  # the suffix names the format
    try:
        if output.suffix == ".npz":
            np.savez(part, **arrays, provenance=text_array(json.dumps(provenance)))  # type: ignore[arg-type]
        else:
            draw(part)
        os.replace(part, output)
    finally:
        part.unlink(missing_ok=True)


def text_array(value: str | Sequence[str]) -> NDArray[Any]:
    """Return text as an array."""
    import numpy as np

    return np.array(value)


def projection_arrays(projections: Sequence[Projection], name: str = "projections") -> dict[str, NDArray[Any]]:
    """Return projections (N, P, P, 3), their units, positions and boxes; none where there are none."""
    import numpy as np

    if not projections:
        return {}
    places = [one.place for one in projections]
    return {
        name: np.stack([one.pixels for one in projections]),
        "units": np.array([place.unit for place in places]),
        f"{name}_values": np.array([place.value for place in places], np.float32),
        f"{name}_places": np.array([(place.y, place.x) for place in places]),
        f"{name}_boxes": np.array([place.box for place in places]),
    }


def place_facts(place: Place) -> dict[str, Any]:
    """Return what is printed of a unit."""
    return {"unit": place.unit, "value": place.value, "row": place.y, "column": place.x, "box": list(place.box)}
