"""One client and two real servers: one of them is killed under calls, comes back, and ends under calls."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fc7
from servers import WAIT_S, Served, jpeg, serving


def n_extracts(served: Served) -> int:
    """Number of calls that a server has answered with features."""
    lines = [json.loads(line) for line in served.log if "FeatureService/Extract" in line]
    return sum(line["code"] == "OK" for line in lines)


def wait_for(served: Served, n_calls: int) -> None:
    """Wait until a server has answered some calls more."""
    wanted, deadline = n_extracts(served) + n_calls, time.monotonic() + WAIT_S
    while n_extracts(served) < wanted:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_no_call_is_lost_while_one_of_two_servers_dies_and_comes_back(tiny_bundle: Path, tmp_path: Path) -> None:
    pictures = [jpeg(seed) for seed in range(4)]
    model = ("--model", str(tiny_bundle), "--threads", "1")
    with serving(tmp_path / "a", *model) as a, serving(tmp_path / "b", *model) as b:
        with fc7.connect(a.address) as alone:
            wanted = [alone.extract(picture).values[0] for picture in pictures]
        is_over = threading.Event()

        def call(n: int) -> int:
            for done in itertools.count():
                if is_over.is_set():
                    return done
                np.testing.assert_allclose(client.extract(pictures[n]).values[0], wanted[n], rtol=1e-4, atol=1e-5)
            raise AssertionError

        async def call_awaited(n: int) -> int:
            async with fc7.AsyncClient([a.address, b.address]) as awaited:
                for done in itertools.count():
                    if is_over.is_set():
                        return done
                    found = (await awaited.extract(pictures[n])).values[0]
                    np.testing.assert_allclose(found, wanted[n], rtol=1e-4, atol=1e-5)
            raise AssertionError

        with fc7.connect([a.address, b.address]) as client, ThreadPoolExecutor(4) as pool:
            callers = [pool.submit(call, n) for n in range(3)]
            callers.append(pool.submit(lambda: asyncio.run(call_awaited(3))))
            try:
                for served in (a, b):
                    wait_for(served, 4)
                b.process.kill()
                wait_for(a, 8)
                with serving(tmp_path / "b", *model, "--listen", b.address) as again:
                    wait_for(again, 4)  # it is found again
                    assert again.stop() == 0  # calls under way are answered
                    wait_for(a, 8)
            finally:
                is_over.set()
            assert all(caller.result() > 0 for caller in callers)  # no error, and every answer was right

            with pytest.raises(fc7.FailedPrecondition, match=r"CreateCollection needs one particular server.*share no"):
                client.create_collection("photos")
        with fc7.connect(a.address) as alone:
            assert alone.collections() == []
        with fc7.connect(f"dns:///localhost:{a.address.rpartition(':')[2]}") as behind_a_name:
            np.testing.assert_allclose(behind_a_name.extract(pictures[0]).values[0], wanted[0], rtol=1e-4, atol=1e-5)
            assert [model.name for model in behind_a_name.models()] == ["tiny"]
