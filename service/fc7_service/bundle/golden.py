"""Golden vectors: images, and the layers that a network computed for them when its bundle was made."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.errors import DataLoss, Reason
from fc7_service.bundle.bundle import GOLDEN, GOLDEN_FILES, INT8_GOLDEN, Bundle

_MAX_BYTES = 64 * 2**20  # the limit of a message


@dataclass(frozen=True, slots=True)
class Golden:
    """The golden vectors of one bundle."""

    pixels: NDArray[np.uint8]  # (N, H, W, 3) at the recipe's resize_px
    inputs: NDArray[np.float32]  # (N, 3, H, W)
    layers: dict[str, NDArray[np.float32]]  # layer -> (N, D)
    own_pixels: dict[str, NDArray[np.uint8]]  # for layers with their own recipe: layer -> pixels to use instead
    files: tuple[GoldenFile, ...] = ()  # none in a bundle of release 0.1, and in the int8 form


@dataclass(frozen=True, slots=True)
class GoldenFile:
    """An encoded file, and the output of one layer for it. It checks decoding and resizing too."""

    name: str
    encoded: bytes
    layer: str
    values: NDArray[np.float32]  # (D,)


def read_golden(bundle: Bundle) -> Golden:
    """Return the golden vectors of a bundle.

    Raises
    ------
    DataLoss
        A file is damaged, lacks an array, or holds one with a wrong shape or dtype.
    """
    arrays = _read_arrays(bundle, GOLDEN)
    outputs = arrays if bundle.precision == "fp32" else _read_arrays(bundle, INT8_GOLDEN)

    def take(source: dict[str, NDArray[Any]], name: str, dtype: type, *shape: int | None) -> NDArray[Any]:
        array = source.get(name)
        fits = array is not None and array.dtype == dtype and array.ndim == len(shape)
        if array is None or not fits or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True)):
            raise DataLoss(
                f"the golden vectors of bundle {bundle.name!r} lack {name!r}, or have it with a wrong shape or dtype",
                name=GOLDEN,
                reason=Reason.BUNDLE_DAMAGED,
            )
        return array

    inputs = take(arrays, "inputs", np.float32, None, 3, None, None)
    n = len(inputs)
    return Golden(
        pixels=take(arrays, "pixels", np.uint8, n, None, None, 3),
        inputs=inputs,
        layers={name: take(outputs, name, np.float32, n, layer.dim) for name, layer in bundle.layers.items()},
        own_pixels={
            name: take(arrays, f"pixels/{name}", np.uint8, n, None, None, 3)
            for name, layer in bundle.layers.items()
            if layer.recipe
        },
        files=tuple(_read_files(bundle)) if GOLDEN_FILES in bundle.files else (),
    )


def write_golden_files(path: Path, files: Sequence[GoldenFile]) -> None:
    """Write the golden files of a bundle into its folder ``path``; all have the same layer."""
    values = np.stack([file.values for file in files])
    encoded = {f"files/{file.name}": np.frombuffer(file.encoded, np.uint8) for file in files}
    np.savez_compressed(path / GOLDEN_FILES, **encoded, **{f"values/{files[0].layer}": values})  # type: ignore[arg-type]


def _read_files(bundle: Bundle) -> Iterator[GoldenFile]:
    arrays = _read_arrays(bundle, GOLDEN_FILES)
    files = {name.removeprefix("files/"): array for name, array in arrays.items() if name.startswith("files/")}
    layers = {name.removeprefix("values/"): array for name, array in arrays.items() if name.startswith("values/")}
    for layer, values in layers.items():
        known = bundle.layers.get(layer)
        if known is None or values.dtype != np.float32 or values.shape != (len(files), known.dim):
            raise DataLoss(
                f"the golden files of bundle {bundle.name!r} have values for layer {layer!r} that do not fit it",
                name=GOLDEN_FILES,
                reason=Reason.BUNDLE_DAMAGED,
            )
        for (name, encoded), row in zip(files.items(), values, strict=True):
            yield GoldenFile(name, encoded.astype(np.uint8).tobytes(), layer, row)


def _read_arrays(bundle: Bundle, file: str) -> dict[str, NDArray[Any]]:
    data = bundle.read(file)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            n_bytes = sum(member.file_size for member in archive.infolist())
        if n_bytes > _MAX_BYTES:
            raise ValueError(f"it would unpack to {n_bytes} bytes, but the limit is {_MAX_BYTES}")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # for damage, NumPy, zipfile and zlib raise errors with no other common base
        raise DataLoss(
            f"file {file!r} of bundle {bundle.name!r} is malformed: {error}", name=file, reason=Reason.BUNDLE_DAMAGED
        ) from error
