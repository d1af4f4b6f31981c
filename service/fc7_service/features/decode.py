"""Decode an image file, or take pixels, into an upright image in RGB.

The header is read first. The size that it declares decides whether the image is decoded, and at which scale.
"""

from __future__ import annotations

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from fc7.errors import ImageDecodeError, InvalidArgument, Reason
from fc7_service.bundle.recipe import Recipe
from fc7_service.features import jpeg
from fc7_service.features.colour import check_mode, over_white, without_alpha
from fc7_service.features.image_format import detect_format
from fc7_service.features.image_part import ImagePart
from fc7_service.features.metadata import File, orientation, strip

MAX_IMAGE_BYTES = 60 * 2**20  # little less than a message may have
MAX_IMAGE_PIXELS = 50_000_000  # after decoding, which may reduce the size of a JPEG
MAX_JPEG_PIXELS = 300_000_000  # as the header declares; the largest phone sensors have 200 million

# Each format is opened by its own class. Image.open would try every format, warn about large images (a thread cannot
# silence that), and open a JPEG that holds several images as another format, which it cannot decode at a reduced size.
_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}
_BYTES_PER_PX = {
    "PNG": 4,
    "WebP": 16,
    "GIF": 4,
    "BMP": 4,
    "TIFF": 8,
    "AVIF": 16,
    "HEIC": 16,
}  # most memory per pixel while decoding
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Picture:
    """An image whose header has been read, and whose pixels are decoded on demand.

    Parameters
    ----------
    image
        An encoded file, pixels, uint8 (H, W, 3) in RGB, or a part of either. The first image of an animation or of
        several pages counts.
    recipe
        Its version decides how colours are converted. The shorter side will be resized to its ``resize_px``, so the
        image may be decoded at a reduced scale, but not below twice that size. For a part, this is the part's side.

    Raises
    ------
    ImageDecodeError
        The bytes are not an image, or the image has too many bytes or pixels.
    InvalidArgument
        The pixels have another shape or dtype.
    """

    n_bytes: int  # most memory that ``upright`` takes

    def __init__(self, image: bytes | NDArray[np.uint8] | ImagePart, recipe: Recipe) -> None:
        self._recipe, self._part, self._side_px = recipe, None, float(recipe.resize_px)
        if isinstance(image, ImagePart):
            self._part, self._side_px, image = image, recipe.resize_px / image.smallest_side(), image.image
        self._file: File | None = None
        if not isinstance(image, bytes):
            self._image, self._name = from_pixels(image), ""
            self._factor = _factor(self._image.size, self._side_px)
            self.n_bytes = 4 * image.shape[0] * image.shape[1]
            return
        if not image:
            raise ImageDecodeError("the image is empty (0 bytes)", reason=Reason.IMAGE_EMPTY)
        if len(image) > MAX_IMAGE_BYTES:
            raise ImageDecodeError(
                f"the image has {len(image)} bytes, but the limit is {MAX_IMAGE_BYTES}",
                reason=Reason.IMAGE_TOO_LARGE,
            )
        self._name = detect_format(image)
        self._file = strip(image, self._name)
        self._image = _open(self._file.data, self._name)
        self._height = self._image.height
        check_mode(self._image.mode)
        self._scale()

    def upright(self) -> Image.Image:
        """Return the image, or the part that counts, in RGB, upright, possibly at a reduced scale.

        Raises
        ------
        ImageDecodeError
            The image is truncated or damaged.
        """
        try:
            image = self._load()
            if self._recipe.version == 1:
                rgb = without_alpha(image)
            else:
                rgb = over_white(image, 1 if self._name == "JPEG" else self._factor)
            file, info = self._file or File(b""), image.info  # the decoders of WebP and AVIF read EXIF themselves
            turn = _TURNS.get(orientation(file.exif or info.get("exif") or b"", file.xmp or info.get("xmp") or b""))
            whole = rgb if turn is None else rgb.transpose(turn)
            return whole if self._part is None else whole.crop(self._part.box(*whole.size))
        except ImageDecodeError:
            raise
        except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ValueError, ...
            raise ImageDecodeError(
                f"the image is truncated or damaged: {error}", reason=Reason.IMAGE_DAMAGED
            ) from error

    def _scale(self) -> None:
        """Choose the scale, and refuse an image that takes too much memory even at this scale."""
        assert self._file is not None  # pixels have no header
        width, height = self._image.size
        n_pixels, n_buffered = width * height, 0
        n_copied = 4 if self._recipe.version == 1 else 0  # version 1 changes colours at full size
        self._factor = _factor((width, height), self._side_px)
        if isinstance(self._image, JpegImagePlugin.JpegImageFile):
            if jpeg.is_buffered(self._file.data):
                n_buffered = 2 * n_pixels * max(1, self._image.layers)
                if self._file.data.count(b"\xff\xda") > jpeg.MAX_SCANS:
                    raise ImageDecodeError(
                        f"the JPEG has more than {jpeg.MAX_SCANS} scans. Save it again", reason=Reason.IMAGE_TOO_LARGE
                    )
            elif n_pixels <= MAX_JPEG_PIXELS:
                n_pixels = -(-width // self._factor) * -(-height // self._factor)
            n_copied += 0 if jpeg.has_end(self._file.data) else 4  # it is decoded twice, to compare
            self._draft(self._image)
        if n_pixels > MAX_IMAGE_PIXELS:
            raise ImageDecodeError(
                f"the image has {width} x {height} pixels, but the limit is {MAX_IMAGE_PIXELS}, and "
                f"{MAX_JPEG_PIXELS} for a JPEG that is not progressive",
                reason=Reason.IMAGE_TOO_LARGE,
            )
        self.n_bytes = n_buffered + n_pixels * (_BYTES_PER_PX.get(self._name, 4) + n_copied)

    def _draft(self, image: ImageFile.ImageFile) -> None:
        is_whole = self._recipe.version == 1 and self._file is not None and self._file.is_mpo
        if not is_whole:
            width, height = image.size
            image.draft("RGB", (max(1, width // self._factor), max(1, height // self._factor)))

    def _load(self) -> Image.Image:
        try:
            self._image.load()
            return self._image
        except OSError:
            if self._name != "JPEG" or self._file is None:
                raise
        self._image.close()  # frees its memory for the two images that are compared
        return jpeg.complete(self._file.data, self._decode_again, self._height)

    def _decode_again(self, data: bytes) -> Image.Image:
        image = _open(data, self._name)
        self._draft(image)
        image.load()
        return image


def from_pixels(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return the image of decoded pixels, uint8 (H, W, 3) in RGB.

    Raises
    ------
    InvalidArgument
        They have another shape or dtype, or there are none.
    ImageDecodeError
        There are more than ``MAX_IMAGE_PIXELS``.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise InvalidArgument(f"pixels are {pixels.dtype} {pixels.shape}, not uint8 (H, W, 3)")
    if pixels.shape[0] * pixels.shape[1] > MAX_IMAGE_PIXELS:
        raise ImageDecodeError(f"the image has more than {MAX_IMAGE_PIXELS} pixels", reason=Reason.IMAGE_TOO_LARGE)
    return Image.fromarray(pixels)


def _open(data: bytes, name: str) -> ImageFile.ImageFile:
    """Open a file and read its header."""
    try:
        if name == "WebP":
            _check_webp(data)
        return _plugin(name)(io.BytesIO(data))
    except ImageDecodeError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageDecodeError(
            f"the image has more than {MAX_IMAGE_PIXELS} pixels", reason=Reason.IMAGE_TOO_LARGE
        ) from error
    except Exception as error:  # a parser that fails on a damaged header may raise anything
        raise ImageDecodeError(
            f"the header of the {name} image is truncated or damaged: {error}", reason=Reason.IMAGE_DAMAGED
        ) from error


def _plugin(name: str) -> type[ImageFile.ImageFile]:
    """Return the class that reads a format. A HEIC says in boxes of its own how it is turned; its class obeys them."""
    if name != "HEIC":
        return _PLUGINS[name]
    from pi_heif import options
    from pi_heif.as_plugin import HeifImageFile

    options.DECODE_THREADS = 1  # the pictures of several calls keep the cores busy
    plugin: type[ImageFile.ImageFile] = HeifImageFile
    return plugin


def _check_webp(data: bytes) -> None:
    """Refuse a WebP that declares too many pixels: its decoder allocates the canvas when it reads the header."""
    if data[12:16] == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (size & 0x3FFF for size in struct.unpack_from("<HH", data, 26))
    if width * height > MAX_IMAGE_PIXELS:
        raise ImageDecodeError(
            f"the image has {width} x {height} pixels, but the limit is {MAX_IMAGE_PIXELS}",
            reason=Reason.IMAGE_TOO_LARGE,
        )


def _factor(size: tuple[int, int], side_px: float) -> int:
    """Return 8, 4, 2 or 1: how many times smaller an image may be decoded, so that twice ``side_px`` is left."""
    width, height = size
    shrink = 2 * side_px / min(size)
    spare = min(width // max(1, round(width * shrink)), height // max(1, round(height * shrink)))
    return next(factor for factor in (8, 4, 2, 1) if spare >= factor or factor == 1)
