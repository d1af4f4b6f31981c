"""Picture files with bytes changed, lost, added: a tensor or an error that says what is wrong, and nothing else."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import fc7
from changed_files import FILES, mutate
from fc7.errors import ImageDecodeError
from fc7_service.bundle.recipe import Recipe
from fc7_service.features.preprocess import preprocess

RECIPE = Recipe(resize_px=32, crop_px=32, scale=1 / 255, mean=(0.5,) * 3, std=(0.25,) * 3)


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(range(len(FILES))), st.randoms(use_true_random=False))
def test_a_changed_file_gives_a_tensor_or_a_clear_error(index: int, rng: random.Random) -> None:
    started = time.process_time()
    try:
        tensor = preprocess(mutate(FILES[index], rng), RECIPE)
    except ImageDecodeError as error:
        assert len(error.message) < 2000  # noqa: PT017 - either outcome is right
    else:
        assert tensor.shape == (3, 32, 32)
        assert np.isfinite(tensor).all()
    assert time.process_time() - started < 10


def test_a_server_answers_each_of_many_changed_files(tiny_bundle: Path, tmp_path: Path) -> None:
    rng = random.Random(21)
    changed = [mutate(rng.choice(FILES), rng) for _ in range(400)]
    with fc7.connect(data=tmp_path / "data", models=[str(tiny_bundle)]) as client:
        found = client.extract(changed, on_error="skip")
        assert {failure.error.code for failure in found.failed} == {"INVALID_ARGUMENT"}
        assert len(found.rows) + len(found.failed) == len(changed)
        assert 20 < len(found.rows) < 380
        assert client.extract(FILES).values.shape == (len(FILES), 8)
