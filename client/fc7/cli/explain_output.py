"""What the commands of `fc7 explain` write: a drawing, or arrays in a `.npz` file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fc7.cli.output import check_writable, print_note, whole_file
from fc7.errors import FailedPrecondition, Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fc7 import ClassReason, Match, Place, Projection


def check_result(output: Path | None) -> None:
    """Refuse a file that cannot be written or drawn, so that no work is lost."""
    if output is None:
        return
    if output.suffix != ".npz":
        from fc7.drawing.page import check_format

        check_format(output)
    check_writable(output)


def check_drawable(output: Path | None, found: Match | ClassReason) -> None:
    """Refuse a drawing that could show only the picture itself; print a note if a part of it will be missing.

    Raises
    ------
    FailedPrecondition
        There are neither projected units nor positions to draw.
    """
    from fc7.explanations import Match

    side = found.query if isinstance(found, Match) else found
    if output is None or output.suffix == ".npz" or side.projections:
        return
    model, layer = found.provenance.model, found.unit_layer
    why = (
        f"model {model!r} has no deconvnet for layer {layer!r}, because its graph branches, its bundle is old, or the "
        "layer is not a sum over the maps of an earlier one"
    )
    if side.positions is None:
        raise FailedPrecondition(
            f"nothing was drawn: {why}. The numbers above are valid, and --output FILE.npz keeps them. "
            "`fc7 explain occlude` draws with every network",
            name=model,
            reason=Reason.NO_DECONVNET,
        )
    print_note(str(output), f"the drawing shows no units: {why}")


def write_result(
    output: Path, arrays: Mapping[str, NDArray[Any]], provenance: dict[str, str], draw: Callable[[Path], None]
) -> None:
    """Write the arrays to a `.npz` file, or call ``draw`` to write any other."""
    import numpy as np

    with whole_file(output) as part:
        if output.suffix == ".npz":
            np.savez(part, **arrays, provenance=text_array(json.dumps(provenance)))  # type: ignore[arg-type]
        else:
            draw(part)


def text_array(value: str | Sequence[str]) -> NDArray[Any]:
    """Return text as an array."""
    import numpy as np

    return np.array(value)


def projection_arrays(projections: Sequence[Projection], name: str = "projections") -> dict[str, NDArray[Any]]:
    """Return the arrays that a `.npz` file keeps of N projections; empty if there are none.

    ``name`` holds the pixels, float32 (N, P, P, 3), and "units" the numbers of the units (N,). ``name_values`` are the
    activations (N,), ``name_places`` their rows and columns (N, 2), and ``name_boxes`` their receptive fields (N, 4).
    """
    import numpy as np

    if not projections:
        return {}
    places = [projection.place for projection in projections]
    return {
        name: np.stack([projection.pixels for projection in projections]),
        "units": np.array([place.unit for place in places]),
        f"{name}_values": np.array([place.value for place in places], np.float32),
        f"{name}_places": np.array([(place.y, place.x) for place in places]),
        f"{name}_boxes": np.array([place.box for place in places]),
    }


def place_facts(place: Place) -> dict[str, Any]:
    """Return what is printed about a unit."""
    return {"unit": place.unit, "value": place.value, "row": place.y, "column": place.x, "box": list(place.box)}
