"""Generate the stubs of the contract: `python proto/generate.py [FOLDER]`, by default into `client`.

Messages with protoc's own type hints, services with those of mypy-protobuf. The import path of a stub is that of
its `.proto`, so nothing is patched afterwards. A test compares the committed stubs with new ones.

`fc7/v1/comments.json` has the comments, which stubs do not hold: the HTTP door shows them in its description.

Beside them `contract.txt` lists what goes over the wire: every field with its number, type and label. It may grow; a
line that is changed or lost would break clients that are out there, and is refused.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2
from grpc_tools import protoc

PROTO = Path(__file__).parent
CONTRACT = PROTO / "contract.txt"
INFERENCE = PROTO.parent / "service/fc7_service/rpc/inference.binpb"  # descriptors of the Open Inference Protocol
_FIELD = descriptor_pb2.FieldDescriptorProto


def generate(out: Path) -> None:
    """Write the stubs below ``out``.

    Raises
    ------
    SystemExit
        A `.proto` does not compile, or the plug-in of mypy-protobuf is not installed.
    """
    files = sorted(PROTO.glob("fc7/v1/*.proto"))
    services = [file for file in files if "\nservice " in file.read_text()]
    plugin = shutil.which("protoc-gen-mypy_grpc", path=str(Path(sys.executable).parent))
    if plugin is None:
        raise SystemExit("protoc-gen-mypy_grpc is not beside this Python: pip install mypy-protobuf")
    _run(files, f"--python_out={out}", f"--pyi_out={out}")
    _run(
        services, f"--grpc_python_out={out}", f"--plugin=protoc-gen-mypy_grpc={plugin}", f"--mypy_grpc_out=quiet:{out}"
    )
    text = json.dumps(comments(), indent=0, sort_keys=True, ensure_ascii=False)
    (out / "fc7/v1/comments.json").write_text(text + "\n", encoding="utf-8")


def inference() -> bytes:
    """Return the descriptors of the Open Inference Protocol. Stubs would clash with those of other clients of it."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        _run([PROTO / "inference/inference.proto"], f"--descriptor_set_out={out}")
        return out.read_bytes()


def contract() -> list[str]:
    """Return a line for each part of the contract that goes over the wire."""
    lines = [line for file in _descriptors() for line in _lines(file)]
    return sorted(lines)


def comments() -> dict[str, str]:
    """Return the comment of each part of the contract by its full name."""
    return {name: text for file in _descriptors() for name, text in _comments_of(file)}


def _descriptors() -> list[descriptor_pb2.FileDescriptorProto]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        _run(sorted(PROTO.glob("fc7/v1/*.proto")), "--include_source_info", f"--descriptor_set_out={out}")
        return list(descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file)


def _comments_of(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for place in file.source_code_info.location:
        if not place.leading_comments or len(place.path) % 2:  # an odd path leads to a property, such as the syntax
            continue
        part, name = file, file.package
        for kind, number in zip(place.path[::2], place.path[1::2], strict=True):
            part = getattr(part, part.DESCRIPTOR.fields_by_number[kind].name)[number]
            name = f"{name}.{part.name}"
        yield name, " ".join(place.leading_comments.split())


def lost(before: list[str], after: list[str]) -> list[str]:
    """Return the lines of a contract that are no more, or say something else."""
    return sorted(set(before) - set(after))


def _lines(file: descriptor_pb2.FileDescriptorProto) -> Iterator[str]:
    for message in file.message_type:
        yield from _lines_of(message, f"{file.package}.{message.name}")
    for enum in file.enum_type:
        for value in enum.value:
            yield f"enum {file.package}.{enum.name} {value.number} {value.name}"
    for service in file.service:
        for method in service.method:
            asked, answered = (
                f"{'stream ' * is_stream}{kind}"
                for is_stream, kind in (
                    (method.client_streaming, method.input_type),
                    (method.server_streaming, method.output_type),
                )
            )
            yield f"rpc {file.package}.{service.name}/{method.name} ({asked}) ({answered})"


def _lines_of(message: descriptor_pb2.DescriptorProto, name: str) -> Iterator[str]:
    for field in message.field:
        kind = field.type_name or _FIELD.Type.Name(field.type).removeprefix("TYPE_").lower()
        label = _FIELD.Label.Name(field.label).removeprefix("LABEL_").lower()
        yield f"field {name} {field.number} {field.name} {label} {kind}"
    for nested in message.nested_type:
        yield from _lines_of(nested, f"{name}.{nested.name}")


def keep_contract() -> None:
    """Write the contract's list where it has only grown.

    Raises
    ------
    SystemExit
        Something that clients rely on was renumbered, renamed, removed or given another type.
    """
    now, before = contract(), CONTRACT.read_text().splitlines() if CONTRACT.exists() else []
    if gone := lost(before, now):
        raise SystemExit("the contract may only grow, but these are changed or gone:\n" + "\n".join(gone))
    CONTRACT.write_text("\n".join(now) + "\n")


def _run(files: list[Path], *options: str) -> None:
    if protoc.main(["protoc", f"-I{PROTO}", *options, *map(str, files)]):
        raise SystemExit("protoc failed: its message stands above")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        keep_contract()
        INFERENCE.parent.mkdir(parents=True, exist_ok=True)
        INFERENCE.write_bytes(inference())
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else PROTO.parent / "client")
