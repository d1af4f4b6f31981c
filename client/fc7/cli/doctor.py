"""`fc7 doctor`: check the installation and the server, and say how to fix each problem."""

from __future__ import annotations

import importlib.metadata
import platform
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.cuda import DRIVERS, driver_version, generations
from fc7.cli.options import example, json_option
from fc7.cli.output import counted, exit_if_failed, print_json, print_table, print_text, printable
from fc7.contract.cores import usable_cores
from fc7.errors import Fc7Error, PermissionDenied

if TYPE_CHECKING:
    from fc7 import Client

_EXCLUSIVE = (("onnxruntime", "onnxruntime-gpu"), ("faiss-cpu", "faiss-gpu"))
_LIBRARIES = ("grpcio", "protobuf", "numpy", "Pillow", "scipy", "torch", "onnx")
_SAFE_SQLITE = (3, 51, 3)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str
    value: str
    problem: str = ""  # empty if all is well
    fix: str = ""


@example("fc7 doctor")
@click.command()
@json_option
@connected
def doctor(connection: Connection, as_json: bool) -> None:
    """Check this installation and its server, and say how to fix each problem.

    The exit code is 1 if there is a problem.
    """
    findings = [*_machine(), *_packages(is_remote=connection.server is not None), *_server(connection)]
    problems = [finding for finding in findings if finding.problem]
    if as_json:
        for finding in findings:
            problem = {"problem": finding.problem, "fix": finding.fix} if finding.problem else {}
            print_json({"check": finding.check, "value": finding.value} | problem)
    else:
        print_table(("check", "found"), [(finding.check, finding.value) for finding in findings])
        for finding in problems:
            # Parts of both texts come from the server.
            cause, fix = " ".join(finding.problem.split()), " ".join(finding.fix.split())
            print_text(f"\nproblem: {finding.check}: {printable(cause)}\n    fix: {printable(fix)}")
        print_text(f"\n{counted(len(problems), 'problem')}" if problems else "\nall well")
    exit_if_failed(len(problems))


def _machine() -> Iterator[Finding]:
    yield Finding("fc7", _version("fc7") or "not installed as a distribution")
    yield Finding("python", platform.python_version())
    yield Finding("platform", platform.platform())
    yield Finding("cores", str(usable_cores()))
    note = ""
    if sqlite3.sqlite_version_info < _SAFE_SQLITE:
        note = " (its write-ahead log can lose data with two connections; fc7 opens one per collection)"
    yield Finding("sqlite", sqlite3.sqlite_version + note)


def _packages(*, is_remote: bool) -> Iterator[Finding]:
    for pair in _EXCLUSIVE:
        installed = [name for name in pair if _version(name)]
        value = ", ".join(f"{name} {_version(name)}" for name in installed) or "none"
        if len(installed) == 2:
            fix = f"pip uninstall {' '.join(pair)}, then pip install 'fc7[cpu]' or 'fc7[gpu]'"
            yield Finding(pair[0], value, "both are installed, and each overwrites the other's files", fix)
        elif not installed and not is_remote:
            fix = "pip install 'fc7[cpu]', or name a server with --server"
            yield Finding(pair[0], value, "no server can run here without it", fix)
        else:
            yield Finding(pair[0], value)
    yield from _cuda(generations(), driver_version())
    yield Finding("libraries", ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES if _version(name)))


def _cuda(found: dict[str, int], driver: str) -> Iterator[Finding]:
    """Compare the GPU libraries with one another and with the driver."""
    if not found:
        return
    needed = max(DRIVERS.get(generation, 0) for generation in found.values())
    built = ", ".join(f"{name} for CUDA {generation}" for name, generation in found.items())
    value = f"{built}; needs driver {needed} or newer, found {driver or 'none'}"
    if driver and int(driver.partition(".")[0]) < needed:
        yield Finding("cuda", value, "the driver is too old for these libraries", f"install driver {needed} or newer")
    elif len(set(found.values())) > 1:
        problem = "two generations of CUDA are installed, some gigabytes each"
        yield Finding("cuda", value, problem, "install fc7[gpu] again with: pip install --upgrade 'fc7[gpu]'")
    else:
        yield Finding("cuda", value)


def _server(connection: Connection) -> Iterator[Finding]:
    where = connection.server or "in this process, or in the process that holds the data folder"
    try:
        with connection.open() as client:
            yield Finding("server", where)
            yield from _answers(client)
    except Fc7Error as error:
        yield Finding("server", where, error.message, "do what the message says. `fc7 serve` starts a server")
    except ModuleNotFoundError as error:
        yield Finding("server", where, f"{error.name} is not installed", "pip install 'fc7[cpu]'")


def _answers(client: Client) -> Iterator[Finding]:
    import numpy as np

    start = time.perf_counter()
    client.extract(np.full((64, 64, 3), 128, np.uint8))
    yield Finding("extract", f"one image in {1000 * (time.perf_counter() - start):.0f} ms")
    for model in client.models():
        yield Finding("model", f"{model.name} ({model.provider or 'not used yet'})")
    try:
        info = client.server_info()
    except PermissionDenied as error:
        yield Finding("server facts", error.message)
    else:
        yield Finding("server version", info.version)
        yield Finding("device", f"{info.device}, {info.provider}, {info.threads} threads")
        yield Finding("data folder", info.data)
        yield _telemetry(info.telemetry)
    for collection in client.collections():
        if collection.fault:
            fix = f"restore its folder from a copy, or run: fc7 collection delete {collection.name} --yes"
            yield Finding("collection", collection.name, collection.fault, fix)
        else:
            size = counted(collection.count, "item")
            yield Finding("collection", f"{collection.name}: {size}, index {collection.index}")


def _telemetry(state: str) -> Finding:
    if state == "off":
        return Finding("telemetry", state)
    fix = "set ORT_DISABLE_TELEMETRY=1 and start the server again"
    return Finding("telemetry", state, "ONNX Runtime may send data about its use", fix)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
