"""A user's day with 3,000 photographs (clothing-mini): in this process, and on a server. `make test-long` runs this."""

from __future__ import annotations

from pathlib import Path

import pytest

import fc7
from servers import serving
from users_day import live_a_day


@pytest.mark.parametrize("where", ["embedded", "remote"])
def test_from_pictures_without_labels_to_an_exported_head(where: str, photographs: Path, tmp_path: Path) -> None:
    pictures = sorted((photographs / "clothing-mini").rglob("*.jpg"))[:3000]
    assert len(pictures) == 3000
    truth = [picture.parent.name for picture in pictures]
    if where == "embedded":
        with fc7.connect(data=tmp_path / "data") as client:
            day = live_a_day(client, pictures, truth, per_class=10, folder=tmp_path, batch=50)
    else:
        with serving(tmp_path / "data") as served, fc7.connect(served.address) as client:
            day = live_a_day(client, pictures, truth, per_class=10, folder=tmp_path, batch=50)
    print(day, f"precision {day.precision:.2f}, recall {day.recall:.2f}")
    assert (day.n_labels, day.n_wrong) == (100, 5)
    assert day.recall >= 0.6
    assert day.precision >= 0.1
    assert day.mended_accuracy >= day.accuracy - 0.02
    assert day.agreement > 0.6
