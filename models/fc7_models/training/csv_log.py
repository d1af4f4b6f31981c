"""The log of a run: a table (CSV) and an event file for TensorBoard, both rebuilt from the state at the start."""

from __future__ import annotations

import csv
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FIRST_EVENT = b"brain.Event:2"


class Log:
    """Writes a row an epoch to ``log.csv`` and ``events.out.tfevents.fc7`` in ``folder``."""

    def __init__(self, folder: Path, rows: list[dict[str, float]]) -> None:
        self._table, self._events = folder / "log.csv", folder / "events.out.tfevents.fc7"
        start = _varint_field(2, 0) + _bytes_field(3, _FIRST_EVENT)
        self._table.write_bytes(b"")
        self._events.write_bytes(_record(start))
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, float]) -> None:
        """Append a row; ``epoch`` and ``time`` (Unix seconds) are among its columns."""
        with self._table.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row)
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)
        with self._events.open("ab") as events:
            events.write(_record(_event(row)))


def _event(row: Mapping[str, Any]) -> bytes:
    """Return the message tensorflow.Event with a scalar a column."""
    values = b"".join(
        _bytes_field(1, _bytes_field(1, name.encode()) + b"\x15" + struct.pack("<f", value))
        for name, value in row.items()
        if name not in ("epoch", "time")
    )
    return b"\x09" + struct.pack("<d", row["time"]) + _varint_field(2, int(row["epoch"])) + _bytes_field(5, values)


def _record(data: bytes) -> bytes:
    """Return a TFRecord: length, its checksum, data, its checksum."""
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    """Return CRC-32C, rotated and shifted as TFRecord has it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _bytes_field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
