"""Messages to values and back, as far as several services share them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.contract.image_digest import image_digest
from fc7.contract.tensor_types import WIRE_DTYPES
from fc7.contract.timing import Timing
from fc7.errors import FailedPrecondition, Fc7Error, InvalidArgument, Reason, ResourceExhausted
from fc7.v1 import MAX_MESSAGE_BYTES, collection_pb2, common_pb2
from fc7_service.bundle.bundle import find_maker
from fc7_service.bundle.provenance import Provenance
from fc7_service.features.extractor import VIEWS, Extractor, ImageInput

_LARGEST_AXIS = 2**31


def read_tensor(tensor: common_pb2.Tensor, name: str) -> NDArray[Any]:
    """Return the array of a tensor message.

    Raises
    ------
    InvalidArgument
        Unknown dtype, negative axis, or a number of bytes that is not what the shape needs.
    """
    if tensor.dtype not in WIRE_DTYPES:
        raise InvalidArgument(f"{name}.dtype {tensor.dtype[:64]!r} is none of {', '.join(WIRE_DTYPES)}", name=name)
    dtype = np.dtype(WIRE_DTYPES[tensor.dtype])
    if len(tensor.shape) > 8 or not all(0 <= n <= _LARGEST_AXIS for n in tensor.shape):
        raise InvalidArgument(f"{name}.shape {list(tensor.shape)[:9]} is not a shape", name=name)
    needed, data = math.prod(tensor.shape) * dtype.itemsize, tensor.data  # Python integers do not overflow
    if needed != len(data) or not data:
        raise InvalidArgument(f"{name}.data has {len(data)} bytes: its shape needs {needed}, at least one", name=name)
    return np.frombuffer(data, dtype).reshape(tuple(tensor.shape))


def write_tensor(array: NDArray[Any]) -> common_pb2.Tensor:
    """Return the tensor message of a float32, float16 or uint8 array."""
    wire = np.ascontiguousarray(array, WIRE_DTYPES[array.dtype.name])
    return common_pb2.Tensor(dtype=array.dtype.name, shape=array.shape, data=wire.tobytes())


def read_image(image: common_pb2.Image) -> ImageInput | Fc7Error:
    """Return what the extractor takes, or why this image cannot be read."""
    try:
        if image.WhichOneof("source") == "pixels":
            return read_tensor(image.pixels, "pixels")
    except Fc7Error as error:
        return error
    return image.encoded


def read_vector(vector: collection_pb2.Vector, provenance: Provenance) -> NDArray[np.float32]:
    """Return a caller's feature (D,), if it is of ``provenance``.

    Raises
    ------
    InvalidArgument
        Not float32 of one axis, or without its provenance.
    FailedPrecondition
        Of another provenance; both are named.
    """
    if not vector.provenance_digest:
        raise InvalidArgument("a vector needs the digest of its provenance", name="provenance_digest")
    if vector.provenance_digest != provenance.digest:
        raise FailedPrecondition(
            f"the vector is of provenance {vector.provenance_digest[:12]!r}, the collection of "
            f"{provenance.digest[:12]!r} ({provenance.model} {provenance.layer}): extract it again with that",
            name="provenance_digest",
            reason=Reason.PROVENANCE_MISMATCH,
        )
    values = read_tensor(vector.values, "vector")
    if values.dtype != np.float32 or values.ndim != 1:
        raise InvalidArgument(
            f"vector is {values.dtype} {values.shape}: float32 (D,) is expected",
            name="vector",
            reason=Reason.INVALID_VECTOR,
        )
    return values


def check_answer(n_bytes: int, name: str) -> None:
    """Refuse work whose answer would not fit one message.

    Raises
    ------
    ResourceExhausted
        Naming both sizes.
    """
    if n_bytes > MAX_MESSAGE_BYTES:
        raise ResourceExhausted(
            f"the answer would have {n_bytes} bytes: at most {MAX_MESSAGE_BYTES}, so ask for fewer {name}",
            name=name,
            reason=Reason.ANSWER_TOO_LARGE,
        )


def content_sha256(image: common_pb2.Image) -> str:
    """Return the SHA-256 (hex) of an image's file or pixels."""
    if image.WhichOneof("source") == "pixels":
        return image_digest(image.pixels.data, image.pixels.shape).hex()
    return image_digest(image.encoded).hex()


def write_error(error: Fc7Error) -> common_pb2.ItemError:
    """Return the message of one item's error."""
    return common_pb2.ItemError(
        code=error.code, reason=error.reason, message=error.message[:1024], name=error.name[:256]
    )


def write_provenance(provenance: Provenance) -> common_pb2.Provenance:
    """Return the message of a provenance."""
    return common_pb2.Provenance(**provenance.to_dict())


def write_timing(timing: Timing) -> common_pb2.Timing:
    """Return the message of a timing."""
    return common_pb2.Timing(decode_s=timing.decode_s, queue_s=timing.queue_s, compute_s=timing.compute_s)


def find_model(extractor: Extractor, provenance: Provenance, what: str) -> str:
    """Return the model of this server whose layer has ``provenance``, if need be as NAME@VERSION of its recipes.

    Raises
    ------
    FailedPrecondition
        None has; the wanted one and those here are named.
    """
    maker = find_maker(extractor.bundles, provenance)
    if maker is not None:
        return maker.name
    raise FailedPrecondition(
        f"{what} was made with {provenance.model} {provenance.layer} of provenance {provenance.digest[:12]!r}, "
        f"which no model of this server has ({', '.join(extractor.bundles)}). Start the server with that bundle "
        "(fc7 serve --model BUNDLE), or name it in FC7_MODELS for a command without a server",
        name=provenance.model,
        reason=Reason.MODEL_NOT_SERVED,
    )


@dataclass(frozen=True, slots=True)
class Extracted:
    """What came of a list of images, one row each."""

    rows: list[NDArray[np.float32] | Fc7Error]  # a feature (D,), of `extract_views` (V, D), or why there is none
    provenance: Provenance
    timing: Timing


async def extract(
    extractor: Extractor, images: Sequence[common_pb2.Image], model: str, layer: str, n_views: int = 1
) -> Extracted:
    """Extract the readable ones of ``images``, a mean of views each; the others keep their error in their place.

    Empty names are the default model and its default layer.

    Raises
    ------
    NotFound
        No such model or layer.
    InvalidArgument
        No image at all.
    """
    found = await extract_views(extractor, images, model, layer, n_views)
    rows = [row if isinstance(row, Fc7Error) else row[0] if n_views == 1 else row.mean(axis=0) for row in found.rows]
    return Extracted(rows, found.provenance.over_views(n_views), found.timing)


async def extract_views(
    extractor: Extractor, images: Sequence[common_pb2.Image], model: str, layer: str, n_views: int
) -> Extracted:
    """Do as ``extract``, but keep the views apart; the provenance is that of one view."""
    provenance = extractor.bundle(model).provenance(layer)
    if not images:
        raise InvalidArgument("images is empty: send one at least", name="images")
    rows: list[Any] = [read_image(image) for image in images]
    readable = [i for i, image in enumerate(rows) if not isinstance(image, Fc7Error)]
    if not readable:
        return Extracted(rows, provenance, Timing())
    extraction = await extractor.extract(
        [rows[i] for i in readable], model=model, layer=provenance.layer, n_views=n_views
    )
    features = iter(extraction.views)
    for i, error in zip(readable, extraction.errors, strict=True):
        rows[i] = next(features) if error is None else error
    return Extracted(rows, provenance, extraction.timing)


async def extract_patiently(
    extractor: Extractor, images: Sequence[common_pb2.Image], model: str, layer: str, n_views: int = 1
) -> Extracted:
    """Do as ``extract``, but wait for a place in a full queue: for streams, which send no more meanwhile."""
    while True:
        try:
            return await extract(extractor, images, model, layer, n_views)
        except ResourceExhausted as error:
            if error.retry_after_s is None:
                raise
            await asyncio.sleep(error.retry_after_s)


def read_views(n_views: int) -> int:
    """Return the number of views that a request asks for.

    Raises
    ------
    InvalidArgument
        Neither 1 nor 10.
    """
    if n_views not in (0, *VIEWS):
        raise InvalidArgument(f"views is {n_views}: 1 or 10 is expected", name="views")
    return n_views or 1


def read_models(extractor: Extractor, model: str, ensemble: Sequence[str]) -> list[str]:
    """Return the models that a request asks for: those of its ensemble, else the one it names.

    Raises
    ------
    InvalidArgument
        An ensemble beside a model, of fewer than two, or with one twice.
    NotFound
        No such model.
    """
    if not ensemble:
        return [extractor.bundle(model).name]
    if model:
        raise InvalidArgument(f"ensemble goes without model, which is {model[:64]!r}: leave one out", name="ensemble")
    names = [extractor.bundle(name).name for name in ensemble]
    if len(names) < 2 or len(set(names)) < len(names):
        raise InvalidArgument(f"ensemble is {', '.join(names[:8])}: two models at least, each once", name="ensemble")
    return names
