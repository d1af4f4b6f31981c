"""Bulk extraction on the real Ray: two workers, one of them killed, and a writer killed too.

Ray has an environment of its own, because it is large: `make test-long` makes it and runs this file in it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fc7
from fc7.ray import FeatureExtractor
from servers import jpeg

ray = pytest.importorskip("ray", reason="Ray is not installed here: `make test-long` runs this in its own environment")
import pyarrow.parquet as pq  # noqa: E402

from fc7.ray import FeatureSink  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ray on this machine, for this test; a busy machine decides nothing."""
    for patience in (
        "raylet_start_wait_time_s",
        "worker_register_timeout_seconds",
        "gcs_server_request_timeout_seconds",
    ):
        monkeypatch.setenv(f"RAY_{patience}", "600")
    monkeypatch.setenv("RAY_health_check_failure_threshold", "100")
    ray.init(num_cpus=3, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    yield
    ray.shutdown()


def test_a_killed_worker_neither_loses_nor_doubles_a_row(cluster: None, tiny_bundle: Path, tmp_path: Path) -> None:
    from ray._common.usage import usage_lib

    assert not usage_lib.usage_stats_enabled()
    pictures, wanted = tmp_path / "pictures", {}
    pictures.mkdir()
    for n in range(60):
        wanted[str(pictures / f"{n}.jpg")] = data = b"no picture" if n == 7 else jpeg(n % 50)  # ten are there twice
        (pictures / f"{n}.jpg").write_bytes(data)

    def die_once(marker: Path) -> None:
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    class Dying(FeatureExtractor):
        n_batches = 0

        def __call__(self, batch: Any) -> Any:
            self.n_batches += 1
            if self.n_batches == 3:
                die_once(tmp_path / "worker-died")
            return super().__call__(batch)

    class DyingSink(FeatureSink):
        def write(self, blocks: Any, ctx: Any) -> int:
            n_rows = super().write(blocks, ctx)
            die_once(tmp_path / "writer-died")  # before Ray hears of what was written
            return n_rows

    dataset = ray.data.read_binary_files(str(pictures), include_paths=True, override_num_blocks=12)
    features = dataset.map_batches(
        Dying,
        fn_constructor_kwargs={"model": str(tiny_bundle), "layers": ["fc7", "pool5"]},
        batch_size=4,
        num_cpus=1,
        concurrency=2,
    )
    sink = DyingSink(tmp_path / "features")
    features.write_datasink(sink)
    assert {path.name for path in tmp_path.glob("*-died")} == {"worker-died", "writer-died"}
    assert sink.settled is not None
    assert (sink.settled.rows, sink.settled.failed) == (60, 1)

    found = pq.read_table(tmp_path / "features").to_pylist()
    assert sorted(row["path"] for row in found) == sorted(wanted)  # each once
    with fc7.connect(data=tmp_path / "data", models=[str(tiny_bundle)]) as client:
        for layer in ("fc7", "pool5"):
            readable = [row for row in found if row["error"] is None]
            reference = client.extract([wanted[row["path"]] for row in readable], layer=layer).values
            np.testing.assert_allclose([row[layer] for row in readable], reference, rtol=1e-4, atol=1e-5)
