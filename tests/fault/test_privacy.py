"""Nothing leaves the machine: no address beyond loopback is tried, no file is left outside fc7's own folders.

A library preloaded into the processes (tests/outside.c) notes and refuses every attempt. ONNX Runtime's own telemetry,
left on in a process beside them, shows that it would be seen, and how long one has to wait for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import every_call
from servers import write_jpegs

TOP = Path(__file__).parents[2]
TESTS = TOP / "tests"
PATIENCE_S = 60
OWN_DATA, OWN_CACHE = ".local/share/fc7/", ".cache/fc7/"  # in the home folder
# What an automatic build has in its environment: with one of them ONNX Runtime sends nothing anyway.
SILENCING = ("CI", "TF_BUILD", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "MPLCONFIGDIR")

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("gcc") is None, reason="needs gcc and a preloaded library"
)


class House:
    """A home folder, a temporary folder and a log of what was tried beyond this machine, all empty."""

    def __init__(self, folder: Path, shim: Path) -> None:
        self.home, self.scratch, self.log = folder / "home", folder / "tmp", folder / "outside.log"
        for made in (self.home, self.scratch):
            made.mkdir(parents=True)
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in SILENCING and not name.startswith(("FC7_", "XDG_"))
        }
        self.environment = kept | {
            "HOME": str(self.home),
            "TMPDIR": str(self.scratch),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LD_PRELOAD": str(shim),
            "OUTSIDE_LOG": str(self.log),
        }

    @contextmanager
    def running(self, *command: object) -> Iterator[subprocess.Popen[str]]:
        """Run a Python process until the block ends and its standard input with it."""
        words = [sys.executable, *map(str, command)]
        with subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.environment, cwd=self.scratch
        ) as process:
            yield process

    def run(self, *command: object) -> str:
        """Run a Python process to its end; return what it printed."""
        words = [sys.executable, *map(str, command)]
        done = subprocess.run(
            words, capture_output=True, text=True, env=self.environment, cwd=self.scratch, timeout=PATIENCE_S
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def tried(self) -> list[str]:
        """What was tried beyond this machine."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    def files(self) -> list[str]:
        """Every file in the home and the temporary folder."""
        return sorted(
            str(p.relative_to(top)) for top in (self.home, self.scratch) for p in top.rglob("*") if p.is_file()
        )


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("shim") / "outside.so"
    subprocess.run(["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", made, TESTS / "outside.c", "-ldl"], check=True)
    return made


@pytest.fixture
def houses(tmp_path_factory: pytest.TempPathFactory, shim: Path) -> Callable[[], House]:
    """Builds houses; their paths are short, as that of a socket must be."""
    return lambda: House(tmp_path_factory.mktemp("h"), shim)


def wait_for_telemetry(house: House) -> None:
    """Wait until a process that loads ONNX Runtime as it comes has tried to send its telemetry."""
    with house.running("-c", "import onnxruntime; input()") as process:
        deadline = time.monotonic() + PATIENCE_S
        while not any("events.data.microsoft.com" in line for line in house.tried):
            assert time.monotonic() < deadline, "ONNX Runtime sent nothing: this test can no longer see its telemetry"
            time.sleep(0.05)
        process.communicate("\n")
    assert any("deviceid" in file for file in house.files())


def test_every_way_out_is_seen(houses: Callable[[], House]) -> None:
    attempts = """
import socket
for address, family in (("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6)):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        assert socket.socket(family, kind).connect_ex((address, 9)) == 101
for send in ("sendto", "sendmsg"):
    try:
        way = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        way.sendto(b"x", ("192.0.2.2", 9)) if send == "sendto" else way.sendmsg([b"x"], [], 0, ("192.0.2.3", 9))
    except OSError:
        continue
    raise SystemExit("it was sent")
for look_up in (lambda name: socket.getaddrinfo(name, 80), socket.gethostbyname, socket.gethostbyname_ex):
    try:
        look_up("fc7.invalid")
    except OSError:
        continue
    raise SystemExit("it was found")
listener = socket.create_server(("127.0.0.1", 0))
socket.create_connection(("localhost", listener.getsockname()[1])).close()
"""
    house = houses()
    house.run("-c", attempts)
    tried = [line.partition(" ")[2] for line in house.tried]
    assert {line.split()[1] for line in tried} == {"192.0.2.1", "2001:db8::1", "192.0.2.2", "192.0.2.3", "fc7.invalid"}
    assert len(tried) == 9


def test_nobody_is_reached_and_no_file_is_left_elsewhere(houses: Callable[[], House]) -> None:
    """By a server, by a server in the caller's process, or with every library of every extra loaded."""
    served, embedded, training = houses(), houses(), houses()
    data = embedded.home / OWN_DATA
    # as fc7 does: alone it may not import
    zoo = "from fc7_models.zoo.pretrained_networks import load_torchvision; load_torchvision()"
    libraries = f"{zoo}; import {', '.join(modules_of_extras())}; input()"
    with (
        served.running("-m", "fc7", "serve", "--listen", "127.0.0.1:0") as server,
        embedded.running(TESTS / "every_call.py", "--data", data, "--wait") as client,
        training.running("-c", libraries) as trainer,
    ):
        try:
            assert server.stdout is not None
            assert client.stdout is not None
            address = server.stdout.readline().split()[-1]
            assert set(served.run(TESTS / "every_call.py", address).split()) == set(every_call.methods())
            assert {client.stdout.readline().strip() for _ in every_call.methods()} == set(every_call.methods())
            wait_for_telemetry(houses())  # all three have loaded ONNX Runtime before that
        finally:
            server.terminate()
        for process in (client, trainer):
            process.communicate("\n")
    assert [process.returncode for process in (server, client, trainer)] == [0, 0, 0]
    for house in (served, embedded, training):
        assert house.tried == []
        assert {file for file in house.files() if not file.startswith((OWN_DATA, OWN_CACHE))} == set()


def test_training_and_drawing_leave_no_file_elsewhere(houses: Callable[[], House]) -> None:
    house = houses()
    pictures, made = house.scratch / "pictures", house.scratch / "made"
    write_jpegs(pictures, [f"{part}/{label}/{i}.jpg" for part in ("train", "val") for label in "ab" for i in range(4)])
    house.run("-m", "fc7", "model", "train", pictures, "--network", "lenet-5", "--epochs", "1", "--output", made)
    house.run("-m", "fc7", "model", "inspect", "--model", made, "--output", house.scratch / "drawn")
    assert (house.scratch / "drawn/filters.png").is_file()
    for folder in (pictures, made, house.scratch / "made.checkpoints", house.scratch / "drawn"):
        shutil.rmtree(folder)
    assert house.tried == []
    assert {file for file in house.files() if not file.startswith(OWN_CACHE)} == set()


def plain(name: str) -> str:
    """The name of a distribution, however it is written."""
    return name.lower().replace("_", "-")


def modules_of_extras() -> list[str]:
    """The modules of every installed library that an extra brings."""
    extras = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = {
        plain(requirement.partition(">")[0].partition("=")[0].partition("[")[0])
        for extra, requirements in extras.items()
        if extra not in ("gpu", "ray")  # `ray` has an environment of its own: tests/e2e/test_ray.py
        for requirement in requirements
        if not requirement.startswith("fc7[")
    }
    found = [
        (module, plain(distribution))
        for module, distributions in packages_distributions().items()
        for distribution in distributions
        if plain(distribution) in wanted and module.isidentifier() and not module.startswith("_")
    ]
    assert {name for _, name in found} == wanted, "an extra is not installed, so nothing of it was tried"
    return sorted({module for module, _ in found})
