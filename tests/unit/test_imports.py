"""The arrows between the rooms, read from every import of the three packages; and what an import must not load.

The table is that of the design: a room may import the standard library, itself, and what its row names. The second
column is for imports inside functions, where what is heavy or optional is loaded when it is needed.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "fc7": ROOT / "client/fc7",
    "fc7_service": ROOT / "service/fc7_service",
    "fc7_models": ROOT / "models/fc7_models",
}


class Room(NamedTuple):
    anywhere: str = ""
    in_functions: str = ""
    never: str = ""  # of what the others allow, or of the standard library


GRPC = "grpc grpc_status grpc_health google.protobuf google.rpc"
CONTRACT_FILES = "fc7.errors fc7.contract"
CONTRACT = f"fc7.v1 {CONTRACT_FILES}"
ABOVE_THE_CLIENT = "fc7.cli fc7.demo fc7.drawing fc7.assistants fc7.sklearn"
SERVICE = (
    "fc7_service.bundle fc7_service.served fc7_service.scheduling fc7_service.features "
    "fc7_service.collections fc7_service.heads fc7_service.explain"
)
RECORD = "fc7_service.telemetry.record"
DOORS = "fc7_service.rpc fc7_service.settings fc7_service.tokens"
RPC = f"fc7_service.TELEMETRY {RECORD} fc7_service.telemetry.trace {CONTRACT} {GRPC} numpy {SERVICE} {DOORS}"
# The floors of `fc7_models`. Rooms of one floor do not know one another.
MODELS = f"{CONTRACT_FILES} fc7_service.bundle fc7_service.features.preprocess numpy"
LOWEST_FLOOR = "fc7_models.networks fc7_models.data fc7_models.deconv"
BELOW_THE_TOP = f"{LOWEST_FLOOR} fc7_models.training fc7_models.export"
# Module or package -> what it may import. The longest fitting name decides.
ROOMS = {
    "fc7.errors": Room("fc7.contract.reasons"),
    "fc7.contract": Room("fc7.errors"),
    "fc7.contract.reasons": Room(),
    "fc7.v1": Room("grpc google.protobuf"),
    "fc7": Room(f"fc7 {GRPC} numpy", "PIL pyarrow pandas sklearn", never=ABOVE_THE_CLIENT),
    "fc7.local_server": Room(f"fc7 {GRPC}", "platformdirs fc7_service", never=ABOVE_THE_CLIENT),
    "fc7.sklearn": Room("fc7 numpy sklearn", "fc7_service.heads", never="fc7.cli fc7.demo fc7.drawing fc7.assistants"),
    "fc7.ray": Room(f"{CONTRACT_FILES} numpy", "fc7_service.bulk_engine pyarrow", never=ABOVE_THE_CLIENT),
    "fc7.ray.sink": Room("fc7.errors fc7.ray pyarrow ray"),
    "fc7.ray.settling": Room("fc7.errors pyarrow"),
    "fc7.drawing": Room("fc7.errors fc7.explanations numpy", "PIL"),
    "fc7.demo": Room("fc7 numpy", "PIL skimage", never="fc7.cli fc7.sklearn"),
    "fc7.__main__": Room("fc7.cli"),
    "fc7.cli": Room("fc7 click", "numpy rich PIL platformdirs pyarrow skimage grpc"),
    "fc7.cli.serve": Room("fc7 click", "fc7_service"),
    "fc7.cli.ui": Room("fc7 click", "fc7_service"),
    "fc7.assistants": Room("fc7 mcp mcp_types", never="fc7.cli fc7.demo fc7.sklearn"),
    "fc7.cli.mcp": Room("fc7 click"),
    "fc7.cli.health": Room("fc7 click", "fc7_service.data_folder"),
    "fc7.cli.model": Room("fc7 click", "fc7_models numpy rich"),
    "fc7.cli.model_study": Room("fc7 click", "fc7_models"),
    "fc7.cli.explain_study": Room("fc7 click", "fc7_models"),
    "fc7.cli.model_train": Room("fc7 click", "fc7_models"),
    "fc7_service": Room(
        f"{CONTRACT} {GRPC} fc7_service filelock structlog", "grpc_reflection", never="fc7_service.http"
    ),
    "fc7_service.server": Room(
        f"{CONTRACT} {GRPC} fc7_service filelock structlog", "grpc_reflection threadpoolctl uvloop"
    ),
    "fc7_service.bulk_engine": Room("fc7.errors numpy fc7_service.bundle", "fc7_service.features"),
    "fc7_service.http": Room(
        f"{CONTRACT} {GRPC} fc7.grpc_errors fc7_service.rpc fc7_service.settings fc7_service.tokens fc7_service.bundle "
        "fc7_service.features numpy PIL starlette uvicorn"
    ),
    "fc7_service.http.assistants": Room(
        f"{CONTRACT} fc7_service.http starlette", "mcp fc7.assistants fc7.client fc7._session fc7.endpoint"
    ),
    "fc7_service.settings": Room(CONTRACT_FILES),
    "fc7_service.telemetry": Room(CONTRACT_FILES),
    "fc7_service.telemetry.exporter": Room(f"{CONTRACT_FILES} fc7_service.telemetry prometheus_client"),
    "fc7_service.telemetry.spans": Room(f"{CONTRACT_FILES} fc7_service.telemetry opentelemetry"),
    "fc7_service.rpc": Room(RPC, never="sqlite3"),
    "fc7_service.rpc.admin_service": Room(RPC),  # tells SQLite's version, opens nothing
    "fc7_service.bundle": Room("fc7.errors numpy"),
    "fc7_service.served": Room("fc7.errors fc7_service.bundle"),
    "fc7_service.scheduling": Room("fc7.errors"),
    "fc7_service.features": Room(
        f"{CONTRACT_FILES} {RECORD} fc7_service.bundle fc7_service.served fc7_service.scheduling numpy PIL",
        "onnxruntime pi_heif",
    ),
    "fc7_service.collections": Room(f"{CONTRACT_FILES} fc7_service.bundle numpy faiss", "openTSNE threadpoolctl"),
    "fc7_service.heads": Room(
        "fc7.contract.cores fc7.errors fc7_service.bundle numpy", "scipy safetensors threadpoolctl"
    ),
    "fc7_service.explain": Room(f"{CONTRACT_FILES} fc7_service.bundle fc7_service.served numpy"),
    "fc7_models": Room("fc7_service.bundle platformdirs", never="fc7_models"),  # a new file belongs in a room below
    "fc7_models.networks": Room(f"{MODELS} torch"),
    "fc7_models.data": Room(f"{MODELS} PIL torch onnxruntime"),
    "fc7_models.deconv": Room(f"{MODELS} onnx"),
    "fc7_models.training": Room(f"{MODELS} torch onnx {LOWEST_FLOOR}"),
    "fc7_models.export": Room(f"{MODELS} PIL torch onnx onnxscript onnxruntime {LOWEST_FLOOR} fc7_models.training"),
    "fc7_models.zoo": Room(
        f"{MODELS} torch onnx onnxruntime {BELOW_THE_TOP}", "torchvision timm efficientnet_lite_pytorch"
    ),
    "fc7_models.studies": Room(
        f"{MODELS} PIL scipy torch onnx onnxruntime {BELOW_THE_TOP}", "matplotlib skimage sklearn"
    ),
}


@dataclass(frozen=True)
class Import:
    """One imported module."""

    module: str  # of the importing file
    target: str
    line: int
    is_in_function: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def modules() -> Iterator[tuple[str, Path]]:
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join([package, *(part for part in parts if part != "__init__")]), path


def imports(module: str, tree: ast.AST, is_package: bool) -> Iterator[Import]:
    """Yield what a module imports when it runs; blocks for the type checker alone are passed over."""

    def visit(node: ast.AST, is_in_function: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno, is_in_function)
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: None if is_package and node.level == 1 else -(node.level - is_package)]
                base = ".".join([*parents, *filter(None, [node.module])])
            for alias in node.names:
                yield Import(module, f"{base}.{alias.name}", node.lineno, is_in_function)
        inside = is_in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    yield from visit(tree, False)


def room_of(module: str) -> str:
    return max((name for name in ROOMS if is_within(module, name)), key=len)


def is_within(module: str, names: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names.split())


def is_allowed(one: Import) -> bool:
    name = room_of(one.module)
    room = ROOMS[name]
    if is_within(one.target, room.never):
        return False
    allowed = f"{name} {room.anywhere} {room.in_functions if one.is_in_function else ''}"
    return one.target.partition(".")[0] in sys.stdlib_module_names or is_within(one.target, allowed)


def parsed() -> Iterator[tuple[str, Path, ast.AST]]:
    for module, path in modules():
        yield module, path, ast.parse(path.read_text(encoding="utf-8"))


def test_every_import_follows_an_arrow() -> None:
    found = [one for module, path, tree in parsed() for one in imports(module, tree, path.name == "__init__.py")]
    assert len(found) > 200
    wrong = [str(one) for one in found if not is_allowed(one)]
    assert not wrong, "\n".join(wrong)


def test_every_file_of_the_networks_lies_in_a_room() -> None:
    parents = {module.rpartition(".")[0] for module, _ in modules() if module.startswith("fc7_models.")}
    assert parents == {"fc7_models"} | {name for name in ROOMS if name.startswith("fc7_models.")}
    assert [path.name for path in PACKAGES["fc7_models"].glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("fc7_service.collections.query", "from fc7_service.features import extractor"),
        ("fc7_service.heads.fit", "import fc7_service.collections.store"),
        ("fc7_service.heads.fit", "from fc7.v1 import head_pb2"),
        ("fc7_service.features.decode", "from fc7_service import settings"),
        ("fc7_service.features.session", "import onnxruntime"),
        ("fc7_service.bundle.bundle", "def f():\n import onnxruntime"),
        ("fc7_service.rpc.feature_service", "def f():\n import faiss"),
        ("fc7_service.rpc.collection_service", "import sqlite3"),
        ("fc7_service.server", "def f():\n import torch"),
        ("fc7_service.server", "def f():\n import prometheus_client"),
        ("fc7_service.features.batcher", "from fc7_service.telemetry import exporter"),
        ("fc7_service.server", "from fc7.client import connect"),
        ("fc7_service.bundle.manifest", "def f():\n import onnx"),
        ("fc7.client", "def f():\n import fc7_service.local"),
        ("fc7.client", "import fc7.cli"),
        ("fc7.client", "from PIL import Image"),
        ("fc7.collection", "def f():\n from fc7.drawing import contact_sheet"),
        ("fc7.drawing.contact_sheet", "from fc7.cli.output import say"),
        ("fc7.drawing.contact_sheet", "from fc7.client import Client"),
        ("fc7.drawing.contact_sheet", "from PIL import Image"),
        ("fc7.demo.photograph_views", "def f():\n from fc7.cli.image_arguments import find_images"),
        ("fc7.demo.photograph_views", "from fc7_service.features import preprocess"),
        ("fc7.local_server", "import fc7_service.local"),
        ("fc7.client", "import sklearn"),
        ("fc7.sklearn.softmax_head", "from fc7_service.heads.fit import fit_head"),
        ("fc7.cli.extract", "def f():\n from fc7_service import server"),
        ("fc7.cli.extract", "import numpy"),
        ("fc7.errors", "import grpc"),
        ("fc7_models.training.loop", "from fc7_service.features.extractor import Extractor"),
        ("fc7_models.training.loop", "import fc7"),
        ("fc7_models.networks.alexnet", "from fc7_models.data import dataset"),
        ("fc7_models.data.inference", "from fc7_models.deconv.build import build_deconv"),
        ("fc7_models.deconv.build", "import torch"),
        ("fc7_models.training.loop", "def f():\n from fc7_models.export.export_trained import export_bundle"),
        ("fc7_models.export.int8", "from fc7_models.studies.evaluation import evaluate"),
        ("fc7_models.export.pack_bundle", "from fc7_models.zoo import pretrained_networks"),
        ("fc7_models.zoo.pull", "from fc7_models.studies import figure"),
        ("fc7_models.studies.network_figures", "from fc7_models.zoo import pretrained_networks"),
        ("fc7_models.stray", "from fc7_models.networks import NETWORKS"),
    ],
)
def test_a_forbidden_arrow_is_seen(module: str, source: str) -> None:
    assert not all(is_allowed(one) for one in imports(module, ast.parse(source), is_package=False))


def test_the_environment_is_read_in_two_places() -> None:
    readers = {}
    for module, _, tree in parsed():
        for node in ast.walk(tree):
            is_name = isinstance(node, ast.Name | ast.alias) and getattr(node, "id", getattr(node, "name", "")) in NAMES
            if is_name or (isinstance(node, ast.Attribute) and node.attr in NAMES):
                readers[module] = readers.get(module, 0) + 1
    assert readers.pop("fc7._connect", 0) == 2  # FC7_SERVER, FC7_TOKEN_FILE
    assert readers.pop("fc7.demo.server_process", 0) == 1  # handed on to its server, without fc7's own
    readers.pop("fc7_service.settings", None)
    assert readers.pop("fc7.ray", 0) == 1  # turns off Ray's usage statistics
    assert readers.pop("fc7_service", 0) == 2  # turns off the telemetry of libraries
    assert readers.pop("fc7_models", 0) == 1  # gives Matplotlib a folder of ours
    assert readers == {}


NAMES = ("environ", "environb", "getenv", "getenvb")


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import fc7", "numpy grpc google.protobuf click rich fc7.errors fc7.client fc7._connect"),
        ("import fc7; fc7.NotFound", "numpy grpc google.protobuf"),
        ("import fc7.cli", "numpy grpc google.protobuf rich fc7.client"),
        ("import fc7; fc7.Client, fc7.AsyncClient", "fc7_service fc7_models PIL onnxruntime faiss click rich sklearn"),
        ("import fc7_service.server", "torch onnx onnxruntime faiss scipy prometheus_client fc7.client"),
        ("import fc7_service.bundle, fc7_models", "torch onnx"),
        ("import fc7_models.studies.evaluation, fc7_models.studies.network_figures", "torch onnx matplotlib sklearn"),
    ],
)
def test_an_import_loads_nothing_heavy(statement: str, heavy: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(folder.parent) for folder in PACKAGES.values())}
    command = [sys.executable, "-X", "importtime", "-c", statement]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert len(loaded) > 20
    assert loaded & set(heavy.split()) == set()


@pytest.mark.parametrize(
    "package", ["fc7_service", "fc7_models", "fc7_service.features.session", "fc7_models.export.int8"]
)
def test_telemetry_is_off_before_onnxruntime_can_be_loaded(package: str) -> None:
    program = f"import {package}, onnxruntime, os; print(os.environ['ORT_DISABLE_TELEMETRY'], {package}.__name__)"
    watch = """
import os, sys
class Watch:
    def find_spec(self, name, path, target=None):
        if name == "onnxruntime" and os.environ.get("ORT_DISABLE_TELEMETRY") != "1":
            raise SystemExit("onnxruntime is loaded with its telemetry on")
sys.meta_path.insert(0, Watch())
"""
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", watch + program], check=True, env=environment)


def test_scripts_load_onnxruntime_after_fc7() -> None:
    """Imports at the top are sorted, so that it would come first."""
    loaders = {}
    for path in sorted((ROOT / "bench").glob("*.py")):
        found = list(imports(path.stem, ast.parse(path.read_text(encoding="utf-8")), is_package=False))
        if of_runtime := [one for one in found if is_within(one.target, "onnxruntime")]:
            loaders[path.stem] = all(one.is_in_function for one in of_runtime) and any(
                is_within(one.target, "fc7_service fc7_models") and not one.is_in_function for one in found
            )
    assert loaders
    assert all(loaders.values()), loaders


def test_a_program_that_loaded_onnxruntime_first_is_warned() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"} | {"CI": "1"}
    program = "import onnxruntime, fc7_service; print(fc7_service.TELEMETRY)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "onnxruntime was imported before fc7, so its telemetry may be on\n"
    assert "set ORT_DISABLE_TELEMETRY=1" in done.stderr
    silent = environment | {"ORT_DISABLE_TELEMETRY": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=silent)
    assert (done.stdout, done.stderr) == ("off\n", "")
