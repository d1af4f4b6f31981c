"""The contract: committed stubs are what `make proto` makes, every part is commented, names follow one style.

The rules are those of `buf lint` (STANDARD and COMMENTS) as far as the contract meets them.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

ROOT = Path(__file__).parents[2]
PROTO, STUBS = ROOT / "proto", ROOT / "client/fc7/v1"
UPPER_CAMEL, LOWER_SNAKE = r"(?:[A-Z][a-z0-9]*)+", r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*"
F = descriptor_pb2.FileDescriptorProto
M, E, S = descriptor_pb2.DescriptorProto, descriptor_pb2.EnumDescriptorProto, descriptor_pb2.ServiceDescriptorProto


def test_committed_stubs_are_current(tmp_path: Path) -> None:
    subprocess.run([sys.executable, PROTO / "generate.py", tmp_path], check=True)
    made = {path.name: path.read_text() for path in (tmp_path / "fc7/v1").iterdir()}
    kept = {path.name: path.read_text() for path in (*STUBS.glob("*_pb2*.py*"), STUBS / "comments.json")}
    assert sorted(made) == sorted(kept)
    assert [name for name in made if made[name] != kept[name]] == [], "run `make proto`"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[F]:
    out = tmp_path_factory.mktemp("proto") / "set"
    sources = [str(path) for path in sorted(PROTO.glob("fc7/v1/*.proto"))]
    assert not protoc.main(["protoc", f"-I{PROTO}", "--include_source_info", f"--descriptor_set_out={out}", *sources])
    return list(descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file)


def test_every_part_is_commented(files: list[F]) -> None:
    missing = []
    for file in files:
        comments = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
        missing += [f"{file.name}: {name}" for name, path in _parts(file) if not comments.get(path, "").strip()]
    assert missing == []


def test_every_file_names_one_go_package(files: list[F]) -> None:
    assert {file.options.go_package for file in files} == {"fc7/v1;fc7v1"}


def test_names_follow_one_style(files: list[F]) -> None:
    wrong = []

    def check(pattern: str, name: str) -> None:
        if not re.fullmatch(pattern, name):
            wrong.append(name)

    for file in files:
        assert file.package == "fc7.v1"
        for message in _all_messages(file.message_type):
            check(UPPER_CAMEL, message.name)
            for field in message.field:
                check(LOWER_SNAKE, field.name)
            for oneof in message.oneof_decl:
                check(r"_?" + LOWER_SNAKE, oneof.name)  # the underscore is protoc's own, for `optional`
        for enum in file.enum_type:
            check(UPPER_CAMEL, enum.name)
            prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper()
            assert (enum.value[0].name, enum.value[0].number) == (f"{prefix}_UNSPECIFIED", 0)
            for value in enum.value:
                check(prefix + r"_[A-Z0-9_]+", value.name)
        for service in file.service:
            check(UPPER_CAMEL + "Service", service.name)
            for method in service.method:
                check(UPPER_CAMEL, method.name)
                assert method.input_type == f".fc7.v1.{method.name}Request"
                assert method.output_type == f".fc7.v1.{method.name}Response"
    assert wrong == []


def test_every_message_of_a_call_is_of_that_call_alone(files: list[F]) -> None:
    used = [
        name
        for file in files
        for service in file.service
        for method in service.method
        for name in (method.input_type, method.output_type)
    ]
    assert len(used) == len(set(used))
    ends = {
        message.name
        for file in files
        for message in file.message_type
        if message.name.endswith(("Request", "Response"))
    }
    assert ends == {name.removeprefix(".fc7.v1.") for name in used}


def _all_messages(messages: list[M]) -> Iterator[M]:
    for message in messages:
        if not message.options.map_entry:
            yield message
            yield from _all_messages(list(message.nested_type))


def _parts(file: F) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield every message, field, oneof, enum, value, service and method with its path in the descriptor."""
    for i, message in enumerate(file.message_type):
        yield from _parts_of_message(message, (F.MESSAGE_TYPE_FIELD_NUMBER, i), message.name)
    for i, enum in enumerate(file.enum_type):
        path = (F.ENUM_TYPE_FIELD_NUMBER, i)
        yield enum.name, path
        for j, value in enumerate(enum.value):
            yield value.name, (*path, E.VALUE_FIELD_NUMBER, j)
    for i, service in enumerate(file.service):
        path = (F.SERVICE_FIELD_NUMBER, i)
        yield service.name, path
        for j, method in enumerate(service.method):
            yield f"{service.name}.{method.name}", (*path, S.METHOD_FIELD_NUMBER, j)


def _parts_of_message(message: M, path: tuple[int, ...], name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    if message.options.map_entry:
        return
    yield name, path
    for i, field in enumerate(message.field):
        yield f"{name}.{field.name}", (*path, M.FIELD_FIELD_NUMBER, i)
    for i, oneof in enumerate(message.oneof_decl):
        if not oneof.name.startswith("_"):
            yield f"{name}.{oneof.name}", (*path, M.ONEOF_DECL_FIELD_NUMBER, i)
    for i, nested in enumerate(message.nested_type):
        yield from _parts_of_message(nested, (*path, M.NESTED_TYPE_FIELD_NUMBER, i), f"{name}.{nested.name}")


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", PROTO / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_contract_has_only_grown() -> None:
    generate = _generator()
    kept = generate.CONTRACT.read_text().splitlines()
    assert generate.lost(kept, generate.contract()) == [], "clients out there rely on these"
    assert kept == generate.contract(), "run `make proto`"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("string name = 1;", "string name = 99;"),
        ("string name = 1;", "bytes name = 1;"),
        ("string name = 1;", "repeated string name = 1;"),
        ("string name = 1;", "string title = 1;"),
        ("string name = 1;", ""),
        ("returns (stream TrainHeadResponse)", "returns (TrainHeadResponse)"),
    ],
)
def test_what_clients_rely_on_cannot_change(tmp_path: Path, old: str, new: str) -> None:
    shutil.copytree(PROTO, tmp_path / "proto")
    changed = tmp_path / "proto/fc7/v1/head.proto"
    assert old in changed.read_text()
    changed.write_text(changed.read_text().replace(old, new))
    ran = subprocess.run([sys.executable, tmp_path / "proto/generate.py"], capture_output=True, text=True)
    assert ran.returncode == 1
    assert "the contract may only grow" in ran.stderr


def test_an_addition_is_taken_up(tmp_path: Path) -> None:
    shutil.copytree(PROTO, tmp_path / "proto")
    changed = tmp_path / "proto/fc7/v1/admin.proto"
    changed.write_text(
        changed.read_text().replace(
            "message GetServerInfoRequest {}", "message GetServerInfoRequest {\n  bool more = 1;\n}"
        )
    )
    (tmp_path / "client").mkdir()
    subprocess.run([sys.executable, tmp_path / "proto/generate.py"], check=True)
    assert "fc7.v1.GetServerInfoRequest 1 more" in (tmp_path / "proto/contract.txt").read_text()
