"""Generate the stubs of the contract: `python proto/generate.py [FOLDER]`, by default into `client`.

Messages with protoc's own type hints, services with those of mypy-protobuf. The import path of a stub is that of
its `.proto`, so nothing is patched afterwards. A test compares the committed stubs with new ones.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from grpc_tools import protoc

PROTO = Path(__file__).parent


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


def _run(files: list[Path], *options: str) -> None:
    if protoc.main(["protoc", f"-I{PROTO}", *options, *map(str, files)]):
        raise SystemExit("protoc failed: its message stands above")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else PROTO.parent / "client")
