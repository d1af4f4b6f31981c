"""The demonstration's last picture: why a hit is a neighbour, with a deconvnet and without."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import fc7
from explained import make_explained_bundle
from fc7.demo.experiment import COLLECTION, draw_explanation
from servers import serving, write_jpegs


@pytest.mark.parametrize("has_deconv", [True, False])
def test_why_the_first_hit_is_a_neighbour(tmp_path: Path, has_deconv: bool) -> None:
    bundle = make_explained_bundle(tmp_path / "tiny", has_deconv=has_deconv)
    write_jpegs(tmp_path, ["query.jpg", "a.jpg", "b.jpg"])
    why = tmp_path / "why.png"
    why.write_bytes(b"of an earlier run")
    with serving(tmp_path / "data", "--model", str(bundle.path)) as served, fc7.connect(served.address) as client:
        photographs = client.create_collection(COLLECTION)
        paths = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
        photographs.add(paths, ids=["a", "b"], payloads=[{"path": str(path)} for path in paths])
        hit = photographs.search(tmp_path / "query.jpg", k=1)[0]
        is_drawn = draw_explanation(client, tmp_path / "query.jpg", hit, why)
    assert is_drawn == has_deconv
    if has_deconv:
        with Image.open(why) as drawn:
            assert drawn.width > 1200  # a row a picture: itself, and what five units saw
            assert len(drawn.getcolors(10**7) or ()) > 50
    else:
        assert not why.exists()
