"""Measure a server against what serving has to reach, as ratios within one run.

    make bench-serving
    python bench/serving.py [PART...]                            # all by default
    python bench/serving.py jpeg --other OTHER/service           # and the service of another tree, in the same run
    python bench/serving.py peers --triton PYTHON --litserve PYTHON    # see serving_peers.py

Callers and servers are processes on this machine, and the callers' share of the cores is part of every ratio on the
clock. Read the ratios of CPU time where other programs have the cores: the first line says how busy they are. Ranges
are those of the rounds. The network is `alexnet-64` and the pictures are photographs of 500 x 375 pixels, unless a
line says otherwise. Servers have their default settings. Idle ones do not disturb: they take no CPU time.

- *jpeg*: calls with one photograph, closed loop. The limit is decoding and ONNX Runtime in one process: two threads
  decode 32 pictures, then two threads run the network on them. "CPU" is the CPU time per picture of the limit over
  that of a call, the server's and the client's: what the rate would be on cores that nobody else uses.
- *pixels*: calls with one tensor of float32, to an AlexNet of 2012's size with random weights.
- *beside*: one caller asks for one picture at a time, alone and beside 30 calls of 128 pictures.
- *overload*: single pictures arrive at a fixed rate, whether or not the server answers, each with a deadline of 2 s.
  Goodput is what is answered in time, over the peak: the rate of 64 callers who wait, before and after. "Per CPU of
  the server" is the CPU time per answer at the peak over that under load, everything refused included.
- *giant*, *hostile*, *idle*, *start*: see serving_guards.py.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

from serving_crowds import beside, overload
from serving_guards import giant, hostile, idle, start
from serving_peers import peers
from serving_rates import jpeg, pixels
from serving_world import SMALL, longest_stalls, paper_size

from fc7.contract.cores import usable_cores


def _say_load() -> None:
    busy = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{usable_cores()} cores; load over 1, 5 and 15 minutes {busy}; {time.strftime('%d %B %Y')}", flush=True)


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", type=Path, action="append", default=[], help="folder `service` of another tree")
    parser.add_argument("--seconds", type=float, default=3.0, help="per measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--overload-seconds", type=float, default=60.0)
    parser.add_argument("--paper-size", action="store_true", help="overload an AlexNet of 2012's size instead")
    parser.add_argument("--triton", help="Python with PyTriton, for the part `peers`")
    parser.add_argument("--litserve", help="Python with LitServe, for the part `peers`")
    parts: dict[str, Callable[[argparse.Namespace], None]] = {
        "jpeg": lambda chosen: jpeg(chosen.seconds, chosen.rounds, chosen.other),
        "pixels": lambda chosen: pixels(chosen.seconds, chosen.rounds),
        "peers": lambda chosen: peers(
            chosen.seconds, chosen.rounds, {"triton": chosen.triton, "litserve": chosen.litserve}
        ),
        "beside": lambda chosen: beside(2 * chosen.seconds),
        "overload": lambda chosen: overload(chosen.overload_seconds, paper_size() if chosen.paper_size else SMALL),
        "giant": lambda chosen: giant(chosen.rounds),
        "hostile": lambda _: hostile(),
        "idle": lambda chosen: idle(4 * chosen.seconds),
        "start": lambda chosen: start(chosen.rounds),
    }
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    chosen = parser.parse_args()
    for name in chosen.parts:
        if name not in parts:
            parser.error(f"part must be one of {', '.join(parts)} (got {name!r})")
    _say_load()
    for name in chosen.parts or parts:
        print(f"-- {name}", flush=True)
        parts[name](chosen)
    late_s, busy_s = longest_stalls
    print(
        f"longest stall of the event loop of all servers: clock {late_s * 1e3:.0f} ms, CPU {busy_s * 1e3:.0f} ms "
        "to reach 50 ms"
    )
    _say_load()


if __name__ == "__main__":
    main()
