"""`fc7 doctor`: what is installed, what answers, what is wrong and how to mend it."""

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
from fc7.cli.options import json_option
from fc7.cli.output import exit_if_failed, print_json, print_table, print_text
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
    problem: str = ""  # empty: all well
    fix: str = ""


@click.command()
@json_option
@connected
def doctor(connection: Connection, as_json: bool) -> None:
    """Look at this installation and its server; name each problem's fix. Exit code 1 where there is one."""
    findings = [*_machine(), *_packages(is_remote=connection.server is not None), *_server(connection)]
    problems = [finding for finding in findings if finding.problem]
    if as_json:
        for finding in findings:
            bad = {"problem": finding.problem, "fix": finding.fix} if finding.problem else {}
            print_json({"check": finding.check, "value": finding.value} | bad)
    else:
        print_table(("check", "found"), [(finding.check, finding.value) for finding in findings])
        for finding in problems:
            print_text(f"\nproblem: {finding.check}: {finding.problem}\n    fix: {finding.fix}")
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        print_text(f"\n{count}" if problems else "\nall well")
    exit_if_failed(len(problems))


def _machine() -> Iterator[Finding]:
    yield Finding("fc7", _version("fc7") or "not installed as a distribution")
    yield Finding("python", platform.python_version())
    yield Finding("platform", platform.platform())
    yield Finding("cores", str(usable_cores()))
    note = ""
    if sqlite3.sqlite_version_info < _SAFE_SQLITE:
        note = ": resets of its write-ahead log can lose data with two connections; fc7 keeps one a collection"
    yield Finding("sqlite", sqlite3.sqlite_version + note)


def _packages(*, is_remote: bool) -> Iterator[Finding]:
    for pair in _EXCLUSIVE:
        found = [name for name in pair if _version(name)]
        value = ", ".join(f"{name} {_version(name)}" for name in found) or "none"
        if len(found) == 2:
            fix = f"pip uninstall {' '.join(pair)}, then pip install 'fc7[cpu]' or 'fc7[gpu]'"
            yield Finding(pair[0], value, "both are installed, and they overwrite each other's files", fix)
        elif not found and not is_remote:
            yield Finding(pair[0], value, "no server can run here", "pip install 'fc7[cpu]', or name a --server")
        else:
            yield Finding(pair[0], value)
    yield Finding("libraries", ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES if _version(name)))


def _server(connection: Connection) -> Iterator[Finding]:
    where = connection.server or "in this process, or of the data folder's holder"
    try:
        with connection.open() as client:
            yield Finding("server", where)
            yield from _answers(client)
    except Fc7Error as error:
        yield Finding("server", where, error.message, "see the message; `fc7 serve` starts a server")
    except ModuleNotFoundError as error:
        yield Finding("server", where, f"{error.name} is not installed", "pip install 'fc7[cpu]'")


def _answers(client: Client) -> Iterator[Finding]:
    import numpy as np

    start = time.perf_counter()
    client.extract(np.full((64, 64, 3), 128, np.uint8))
    yield Finding("extract", f"one image in {1000 * (time.perf_counter() - start):.0f} ms")
    for one in client.models():
        yield Finding("model", f"{one.name} ({one.provider or 'not used yet'})")
    try:
        info = client.server_info()
    except PermissionDenied as error:
        yield Finding("server facts", error.message)
    else:
        yield Finding("server version", info.version)
        yield Finding("device", f"{info.device}, {info.provider}, {info.threads} threads")
        yield Finding("data folder", info.data)
        yield _telemetry(info.telemetry)
    for found in client.collections():
        if found.fault:
            fix = f"restore its folder from a copy, or fc7 collection delete {found.name} --yes"
            yield Finding("collection", found.name, found.fault, fix)
        else:
            yield Finding("collection", f"{found.name}: {found.count} items, index {found.index}")


def _telemetry(found: str) -> Finding:
    if found == "off":
        return Finding("telemetry", found)
    return Finding("telemetry", found, "it may send data about its use", "start it again with ORT_DISABLE_TELEMETRY=1")


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
