"""What int8 saves is timed with pictures as the layer sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from test_layer_recipe import make_bundle

from fc7_models.export.int8_fidelity import time_both
from tiny import PX


def test_a_layer_with_a_recipe_of_its_own_is_timed_at_its_own_size(tmp_path: Path) -> None:
    shapes: list[tuple[int, ...]] = []

    def run(inputs: NDArray[np.float32], names: Sequence[str]) -> list[NDArray[np.float32]]:
        assert names == ["pooled"]
        shapes.append(inputs.shape)
        return []

    time_both(replace(make_bundle(tmp_path / "two"), default_layer="pooled"), [run, run])
    assert set(shapes) == {(1, 3, 2 * PX, 2 * PX), (32, 3, 2 * PX, 2 * PX)}
