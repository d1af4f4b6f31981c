"""Answers for callers who may only read: without the paths of files that payloads hold."""

from __future__ import annotations

import json
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from google.protobuf.message import Message

from fc7_service.rpc.codec import Codec

_PAYLOAD, _PATH = "payload_json", "path"


class PathsHidden:
    """Writes answers as another codec does, with the name of a file in place of its path.

    Parameters
    ----------
    codec
        The other codec.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec, self.read = codec, codec.read

    def write(self, answer: Message) -> bytes:
        """Return the bytes of an answer."""
        _hide(answer)
        return self._codec.write(answer)


def _hide(message: Any) -> None:
    for field, value in message.ListFields():
        if field.name == _PAYLOAD:
            setattr(message, field.name, _without_path(value))
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for part in value if field.is_repeated else (value,):
                _hide(part)


def _without_path(text: str) -> str:
    if f'"{_PATH}"' not in text and "\\u" not in text:
        return text
    payload = json.loads(text)
    path = payload.get(_PATH)
    if not isinstance(path, str) or not (PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute()):
        return text
    name = PureWindowsPath(path).name if "\\" in path else PurePosixPath(path).name
    return json.dumps(payload | {_PATH: name}, ensure_ascii=False, separators=(",", ":"))
