"""A folder of Parquet files in which each row stands once, however often it was written."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from fc7.errors import FailedPrecondition

_SUMMARY = "_settled.json"
_HALF = "._"  # how the name of a file begins that is being written; readers of Parquet pass over it
_ROWS_PER_PASS = 10_000_000  # keys in memory while doubled rows are looked for: about two gigabytes
_ROW_GROUP = 4096


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settled folder holds."""

    rows: int
    failed: int  # rows without features, because their picture cannot be read
    files: int
    doubled: int  # rows that had been written more than once, and were removed


class Parts:
    """The Parquet files of a folder.

    Parameters
    ----------
    folder
        Path or URI.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def write(self, table: pa.Table) -> int:
        """Write rows to a file of their own that is named by their keys; return how many there are.

        Raises
        ------
        FailedPrecondition
            The folder holds features of another provenance.
        """
        files, root = self._open()
        files.create_dir(root, recursive=True)
        keys = _keys(table)
        table = table.take(sorted({key: row for row, key in reversed(list(enumerate(keys)))}.values()))
        self._check_provenance(files, root, table)
        name = hashlib.sha256(b"".join(sorted(set(keys)))).hexdigest()[:32]
        self._replace(files, f"{root}/features-{name}.parquet", table)
        return int(table.num_rows)

    def settle(self) -> Settled:
        """Remove what was written more than once or half, and write down what the folder holds.

        Only the keys are read, in as many passes as the memory needs; a file is written again only if it loses rows.
        """
        files, root = self._open()
        files.create_dir(root, recursive=True)
        for path in _list(files, root):
            if path.rpartition("/")[2].startswith(_HALF):
                files.delete_file(path)
        parts = [path for path in _list(files, root) if path.endswith(".parquet")]
        n_rows = sum(pq.read_metadata(path, filesystem=files).num_rows for path in parts)
        doubled = self._find_doubled(files, parts, 1 + n_rows // _ROWS_PER_PASS)
        for path, rows in doubled.items():
            table = pq.read_table(path, filesystem=files)
            kept = table.take([row for row in range(table.num_rows) if row not in rows])
            if kept.num_rows:
                self._replace(files, path, kept)
            else:
                files.delete_file(path)
        parts = [path for path in _list(files, root) if path.endswith(".parquet")]
        errors = [pq.read_table(path, columns=["error"], filesystem=files)["error"] for path in parts]
        n_doubled = sum(len(rows) for rows in doubled.values())
        n_failed = sum(len(column) - column.null_count for column in errors)
        settled = Settled(n_rows - n_doubled, n_failed, len(parts), n_doubled)
        with files.open_output_stream(f"{root}/{_SUMMARY}") as stream:
            stream.write(json.dumps(asdict(settled)).encode())
        return settled

    def _open(self) -> tuple[FileSystem, str]:
        if "://" in self._folder:
            files, root = FileSystem.from_uri(self._folder)
            return files, root
        return LocalFileSystem(), self._folder

    def _check_provenance(self, files: FileSystem, root: str, table: pa.Table) -> None:
        """Refuse rows that another network made than those in the folder."""
        found = set(table["provenance"].unique().to_pylist())
        part = next((path for path in _list(files, root) if path.endswith(".parquet")), None)
        if part is not None:
            found |= set(
                pq.read_table(part, columns=["provenance"], filesystem=files)["provenance"].unique().to_pylist()
            )
        if len(found) > 1:
            raise FailedPrecondition(
                f"the folder {self._folder!r} holds features of another network, layer or recipe. Name another folder",
                name="folder",
            )

    @staticmethod
    def _replace(files: FileSystem, path: str, table: pa.Table) -> None:
        """Write a file as a whole, or not at all."""
        folder, _, name = path.rpartition("/")
        half = f"{folder}/{_HALF}{name}-{secrets.token_hex(4)}"
        with files.open_output_stream(half) as stream:
            pq.write_table(table, stream, row_group_size=_ROW_GROUP)
        files.move(half, path)

    @staticmethod
    def _find_doubled(files: FileSystem, parts: list[str], n_passes: int) -> dict[str, set[int]]:
        """Return, per file, the rows that a file before it holds too."""
        doubled: dict[str, set[int]] = defaultdict(set)
        for one_pass in range(n_passes):
            seen: set[bytes] = set()
            for path in parts:
                for row, key in enumerate(
                    _keys(pq.read_table(path, columns=_key_columns(files, path), filesystem=files))
                ):
                    if int.from_bytes(key[:4]) % n_passes != one_pass:
                        continue
                    if key in seen:
                        doubled[path].add(row)
                    seen.add(key)
        return doubled


def _key_columns(files: FileSystem, path: str) -> list[str]:
    names = pq.read_schema(path, filesystem=files).names
    return [name for name in ("sha256", "path") if name in names]


def _keys(table: pa.Table) -> list[bytes]:
    """Return the key of each row: the digest of its file and, if there is a path, a digest of both."""
    digests: list[bytes] = table["sha256"].to_pylist()
    if "path" not in table.column_names:
        return digests
    paths = pc.cast(table["path"], pa.string()).to_pylist()
    return [
        hashlib.sha256(digest + (path or "").encode("utf-8", "surrogatepass")).digest()
        for digest, path in zip(digests, paths, strict=True)
    ]


def _list(files: FileSystem, root: str) -> list[str]:
    """Return the paths of the files in a folder, in order."""
    found: list[Any] = files.get_file_info(FileSelector(root))
    return sorted(one.path for one in found if one.type == FileType.File)
