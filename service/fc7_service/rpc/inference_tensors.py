"""Tensors of the Open Inference Protocol: a request's images, and the outputs of an answer."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.errors import Fc7Error, InvalidArgument, Reason
from fc7_service.features.image_work import ImageInput
from fc7_service.features.prepared_tensor import PreparedTensor
from fc7_service.rpc.inference_messages import pb
from fc7_service.rpc.message_limits import MAX_ITEMS

INPUT = "image"  # the only input of every model
# Datatype -> shape behind the number of images, field of the contents, dtype.
_PIXELS = {"UINT8": ("H, W, 3", "uint_contents", np.uint8), "FP32": ("3, H, W", "fp32_contents", np.float32)}
_LENGTH = struct.Struct("<I")  # before each element of a BYTES tensor
_LARGEST_AXIS = 2**31


def read_images(request: Any) -> list[ImageInput]:
    """Return the images of a ``ModelInferRequest``.

    The input "image" is of datatype BYTES, shape [N] or [N, 1] (encoded files), of UINT8, [N, H, W, 3] (RGB), or of
    FP32, [N, 3, H, W] (tensors that are prepared as the network takes them).

    Raises
    ------
    InvalidArgument
        There is not exactly this input, or its datatype, shape and content do not fit.
    """
    if [tensor.name for tensor in request.inputs] != [INPUT]:
        names = ", ".join(repr(tensor.name[:64]) for tensor in request.inputs[:4]) or "none"
        raise InvalidArgument(f"send exactly one input, {INPUT!r} (got {names})", name="inputs")
    tensor, raw = request.inputs[0], request.raw_input_contents
    if len(raw) > 1 or (raw and tensor.HasField("contents")):
        raise InvalidArgument(
            f"send the content of {INPUT!r} once: as contents, or as the only one of raw_input_contents", name=INPUT
        )
    shape = tuple(tensor.shape)
    if not shape or not all(1 <= size <= _LARGEST_AXIS for size in shape) or shape[0] > MAX_ITEMS:
        raise InvalidArgument(
            f"the shape of {INPUT!r} must begin with 1 to {MAX_ITEMS} images (got {list(shape)[:8]})", name=INPUT
        )
    if tensor.datatype == "BYTES":
        return list(_read_files(shape, raw[0] if raw else None, tensor.contents))
    if tensor.datatype not in _PIXELS:
        raise InvalidArgument(
            f"the datatype of {INPUT!r} must be BYTES, UINT8 or FP32 (got {tensor.datatype[:64]!r})", name=INPUT
        )
    values = _read_pixels(tensor.datatype, shape, raw[0] if raw else None, tensor.contents)
    return list(values) if tensor.datatype == "UINT8" else [PreparedTensor(one) for one in values]


def _read_files(shape: tuple[int, ...], raw: bytes | None, contents: Any) -> Sequence[bytes]:
    if shape[1:] not in ((), (1,)):
        raise InvalidArgument(f"BYTES must have the shape [N] or [N, 1] (got {list(shape)[:8]})", name=INPUT)
    files = list(contents.bytes_contents) if raw is None else _split(raw)
    if len(files) != shape[0]:
        raise InvalidArgument(f"{INPUT!r} has {len(files)} elements, but its shape says {shape[0]}", name=INPUT)
    return files


def _split(raw: bytes) -> list[bytes]:
    """Return the elements of a raw BYTES tensor, each behind its length."""
    elements, at = list[bytes](), 0
    while at < len(raw):
        begin = at + _LENGTH.size
        end = begin + (_LENGTH.unpack_from(raw, at)[0] if begin <= len(raw) else len(raw))
        if end > len(raw):
            raise InvalidArgument(f"the length before an element of {INPUT!r} exceeds the content", name=INPUT)
        elements.append(raw[begin:end])
        at = end
    return elements


def _read_pixels(datatype: str, shape: tuple[int, ...], raw: bytes | None, contents: Any) -> NDArray[Any]:
    wanted, field, dtype = _PIXELS[datatype]
    channels = shape[-1] if datatype == "UINT8" else shape[1] if len(shape) > 1 else 0
    if len(shape) != 4 or channels != 3:
        raise InvalidArgument(f"{datatype} must have the shape [N, {wanted}] (got {list(shape)[:8]})", name=INPUT)
    n_wanted = math.prod(shape)  # Python's integers do not overflow
    n_found = len(getattr(contents, field)) if raw is None else len(raw) / np.dtype(dtype).itemsize
    if n_found != n_wanted:
        raise InvalidArgument(
            f"{INPUT!r} has {n_found:g} numbers, but its shape {list(shape)} needs {n_wanted}", name=INPUT
        )
    if raw is not None:
        return np.frombuffer(raw, np.dtype(dtype).newbyteorder("<")).reshape(shape)
    numbers = np.asarray(getattr(contents, field))
    if datatype == "UINT8" and numbers.max() > 255:
        raise InvalidArgument(f"{INPUT!r} has a number above 255, but its datatype is UINT8", name=INPUT)
    return numbers.astype(dtype).reshape(shape)


def read_top(output: Any) -> int:
    """Return how many classes of an output are wanted; 0 for its numbers.

    Raises
    ------
    InvalidArgument
        The parameter "classification" is not a positive int64.
    """
    if "classification" not in output.parameters:
        return 0
    parameter = output.parameters["classification"]
    if parameter.WhichOneof("parameter_choice") != "int64_param" or parameter.int64_param < 1:
        raise InvalidArgument("classification must be an int64 of at least 1", name="classification")
    return int(parameter.int64_param)


def add_numbers(answer: Any, name: str, values: NDArray[np.float32]) -> None:
    """Append an output (N, D) in its raw form."""
    answer.outputs.add(name=name, datatype="FP32", shape=values.shape)
    answer.raw_output_contents.append(np.ascontiguousarray(values, "<f4").tobytes())


def add_classes(answer: Any, name: str, values: NDArray[np.float32], top: int, labels: Sequence[str]) -> None:
    """Append the ``top`` largest numbers of each row of an output (N, D), as ``value:index`` or with ``:label``."""
    top = min(top, values.shape[1])
    best = np.argsort(-values, axis=1, kind="stable")[:, :top]
    words = [
        f"{row[i]:f}:{i}" + (f":{labels[i]}" if labels else "")
        for row, order in zip(values, best, strict=True)
        for i in order
    ]
    encoded = [word.encode() for word in words]
    answer.outputs.add(name=name, datatype="BYTES", shape=(len(values), top))
    answer.raw_output_contents.append(b"".join(_LENGTH.pack(len(word)) + word for word in encoded))


def check_image(index: int, row: NDArray[np.float32] | Fc7Error) -> NDArray[np.float32]:
    """Return the feature of one image, or raise its error: the protocol has no place for errors beside features."""
    if isinstance(row, InvalidArgument):
        raise type(row)(f"image {index}: {row.message}", name=INPUT, reason=Reason[row.reason])
    if isinstance(row, Fc7Error):
        raise row
    return row


def describe(name: str, datatype: str, shape: Sequence[int]) -> Any:
    """Return what a model's metadata say about an input or an output."""
    return pb.ModelMetadataResponse.TensorMetadata(name=name, datatype=datatype, shape=shape)
