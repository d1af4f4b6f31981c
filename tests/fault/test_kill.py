"""kill -9 of the server during `fc7 add --json`: what was printed is there, and a second run completes it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import fc7
from fc7._operations.batches import BATCH_IMAGES
from servers import WAIT_S, clean_environment, jpeg, serving

KILLS = 12
PER_KILL = 4 * BATCH_IMAGES


def test_every_printed_id_is_there_with_its_bytes(tiny_bundle: Path, tmp_path: Path) -> None:
    rng = random.Random(5)
    data, model = tmp_path / "data", ("--model", str(tiny_bundle))
    acknowledged: dict[str, Path] = {}
    n_cut_short = 0
    for i in range(KILLS):
        folder = tmp_path / f"part{i}"
        folder.mkdir()
        for j in range(PER_KILL):
            (folder / f"{i:02d}-{j:03d}.jpg").write_bytes(jpeg(i * 1000 + j))
        with serving(data, *model) as served:
            command = [sys.executable, "-m", "fc7", "add", "c", str(folder), "--json", "--server", served.address]
            adding = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=clean_environment()
            )
            assert adding.stdout is not None
            last = rng.randint(1, PER_KILL - BATCH_IMAGES)  # the next batch is on its way, or being written
            for n, line in enumerate(adding.stdout, 1):
                if n == last:
                    served.process.kill()
                    adding.send_signal(signal.SIGINT)  # it would wait half a minute for another server
                row = json.loads(line)
                if row.get("status") in ("added", "replaced", "skipped"):
                    acknowledged[row["id"]] = folder / row["id"]
            n_cut_short += adding.wait(WAIT_S) in (7, 130)
            adding.stdout.close()
    assert n_cut_short >= KILLS / 2, "most adds were done before the kill: the test shows little"

    with fc7.connect(data=data, models=[str(tiny_bundle)]) as client:
        collection = client.collection("c")
        assert collection.count >= len(acknowledged)
        ids = sorted(acknowledged)
        wanted = client.extract([acknowledged[i] for i in ids]).values
        for item, values in zip(collection.get(ids, with_features=True), wanted, strict=True):
            assert not isinstance(item, fc7.Fc7Error)
            assert item.feature is not None
            assert abs(item.feature - values).max() <= 1e-3 * abs(values).max()  # kept as fp16
        for i in range(KILLS):
            folder = tmp_path / f"part{i}"
            collection.add(sorted(folder.glob("*.jpg")), root=folder)
        assert client.collection("c").count == KILLS * PER_KILL


@pytest.mark.parametrize("moment", ["asyncio.Event", "fc7_service.data_folder.DataFolder.announce", "grpc.aio.server"])
def test_an_embedded_owner_that_is_killed_while_it_starts_leaves_no_folder(
    tiny_bundle: Path, tmp_path: Path, moment: str
) -> None:
    scratch = tmp_path / "t"
    scratch.mkdir()
    environment = os.environ | {"TMPDIR": str(scratch)}
    program = f"""
import os, signal, sys, unittest.mock, fc7, fc7_service.server, asyncio, grpc
with unittest.mock.patch("{moment}", lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)):
    fc7.connect(data=sys.argv[1], models=[sys.argv[2]]).models()
"""
    command = [sys.executable, "-c", program, str(tmp_path / "data"), str(tiny_bundle)]
    assert subprocess.run(command, env=environment).returncode == -signal.SIGKILL
    assert len(list(scratch.iterdir())) == 1
    whole = program.replace("os.kill(os.getpid(), signal.SIGKILL)", "None").partition("with ")[0]
    whole += "fc7.connect(data=sys.argv[1], models=[sys.argv[2]]).close()"
    subprocess.run([sys.executable, "-c", whole, *command[3:]], env=environment, check=True)
    assert list(scratch.iterdir()) == []
