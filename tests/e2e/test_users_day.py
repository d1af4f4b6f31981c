"""A user's day with a head, in small: in this process, and on a server. tests/long has 3,000 photographs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import fc7
from servers import serving
from tiny import PX
from users_day import live_a_day

COLOURS = {"blue": (0, 0, 1), "green": (0, 1, 0), "red": (1, 0, 0)}


@pytest.fixture(params=["embedded", "remote"])
def client(request: pytest.FixtureRequest, tmp_path: Path, tiny_bundle: Path) -> Iterator[fc7.Client]:
    if request.param == "embedded":
        with fc7.connect(data=tmp_path / "data", models=[str(tiny_bundle)]) as client:
            yield client
    else:
        with (
            serving(tmp_path / "data", "--model", str(tiny_bundle)) as served,
            fc7.connect(served.address) as client,
        ):
            yield client


def test_from_pictures_without_labels_to_an_exported_head(client: fc7.Client, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    truth = [sorted(COLOURS)[i % 3] for i in range(240)]
    light = np.array([COLOURS[kind] for kind in truth], np.float32)[:, None, None]
    noise = random.uniform(0, 110, (240, PX, PX, 3))
    pictures = list(np.uint8(noise + 140 * light))
    day = live_a_day(client, pictures, truth, per_class=20, folder=tmp_path, layer="fc6")
    print(day, f"precision {day.precision:.2f}, recall {day.recall:.2f}")
    assert (day.n_labels, day.n_wrong) == (60, 3)
    assert day.n_found >= 1  # with 20 labels a class, a head is too unsure to suspect all three
    assert day.precision >= 0.5
    assert day.mended_accuracy >= max(day.accuracy, 0.9)
    assert day.agreement > 0.7
