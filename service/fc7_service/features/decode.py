"""An encoded image, or pixels, becomes an upright image in RGB.

The header is read first. The size that it declares decides whether the image is decoded, and how much memory that
takes.
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
from fc7_service.features.metadata import StrippedFile, read_orientation, strip_metadata

MAX_IMAGE_BYTES = 60 * 2**20  # one message holds little more
MAX_IMAGE_PIXELS = 50_000_000  # decoded; a JPEG counts at the scale at which it is decoded
MAX_JPEG_PIXELS = 300_000_000  # declared; the largest sensors of phones have 200 million

# Each format is opened by its own class. Image.open would try every format, and warn about large pictures, which cannot
# be silenced in one thread only. It would also open a JPEG with other pictures behind it as MPO, which it cannot draft.
_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}
_DECODER_BYTES_PER_PX = {"JPEG": 4, "PNG": 4, "WebP": 16, "GIF": 4, "BMP": 4, "TIFF": 8, "AVIF": 16}  # at most
_RGB_BYTES_PER_PX = 4  # Pillow pads RGB to four bytes
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
    """An image whose header has been read, and which is not decoded yet.

    Parameters
    ----------
    image
        An encoded file (the first picture of an animation or of several pages), or pixels, uint8 (H, W, 3) in RGB.
    recipe
        Its version decides which colours come out. Its ``resize_px`` is what the shorter side will be resized to: the
        image may be decoded at a reduced scale, but not below twice that size.

    Attributes
    ----------
    n_bytes
        Upper bound of the memory that ``upright`` takes.

    Raises
    ------
    ImageDecodeError
        The bytes are not an image, or have too many bytes or pixels.
    InvalidArgument
        The pixels have another shape or dtype.
    """

    n_bytes: int

    def __init__(self, image: bytes | NDArray[np.uint8], recipe: Recipe) -> None:
        self._recipe = recipe
        self._file: StrippedFile | None = None
        self._turn: Image.Transpose | None = None
        if not isinstance(image, bytes):
            self._image, self._format = from_pixels(image), ""
            self._factor = _factor(self._image.size, recipe.resize_px)
            self.n_bytes = _RGB_BYTES_PER_PX * image.shape[0] * image.shape[1]
            return
        if not image:
            raise ImageDecodeError("the image is empty (0 bytes)", reason=Reason.IMAGE_EMPTY)
        if len(image) > MAX_IMAGE_BYTES:
            raise ImageDecodeError(
                f"an image may have at most {MAX_IMAGE_BYTES} bytes (got {len(image)})",
                reason=Reason.IMAGE_TOO_LARGE,
            )
        self._format = detect_format(image)
        self._file = strip_metadata(image, self._format)
        self._image = _open(self._file.data, self._format)
        self._height = self._image.height
        check_mode(self._image.mode)
        info = self._image.info  # the decoders of WebP and AVIF put EXIF there
        self._turn = _TURNS.get(
            read_orientation(self._file.exif or info.get("exif", b""), self._file.xmp or info.get("xmp", b""))
        )
        self._choose_scale(self._image, self._file)

    def upright(self) -> Image.Image:
        """Return the image in RGB, upright, perhaps at a reduced scale.

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
                rgb = over_white(image, 1 if self._format == "JPEG" else self._factor)
            return rgb if self._turn is None else rgb.transpose(self._turn)
        except ImageDecodeError:
            raise
        except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ValueError, ...
            raise ImageDecodeError(
                f"the image is truncated or damaged: {error}", reason=Reason.IMAGE_DAMAGED
            ) from error

    def _choose_scale(self, image: ImageFile.ImageFile, file: StrippedFile) -> None:
        """Choose the scale at which to decode; refuse an image that takes too much memory even so."""
        width, height = image.size
        self._factor = _factor((width, height), self._recipe.resize_px)
        n_pixels, n_buffered_bytes, n_copies = width * height, 0, 0
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            if jpeg.is_buffered(file.data):
                n_buffered_bytes = 2 * n_pixels * max(1, image.layers)
                if file.data.count(b"\xff\xda") > jpeg.MAX_SCANS:
                    raise ImageDecodeError(
                        f"the JPEG has more than {jpeg.MAX_SCANS} scans: save it again", reason=Reason.IMAGE_TOO_LARGE
                    )
            elif n_pixels <= MAX_JPEG_PIXELS:
                n_pixels = -(-width // self._factor) * -(-height // self._factor)
            n_copies += not jpeg.has_end(file.data)  # it is decoded twice, to compare the two
            self._draft(image)
        if n_pixels > MAX_IMAGE_PIXELS:
            raise ImageDecodeError(
                f"an image may have at most {MAX_IMAGE_PIXELS} pixels, and a JPEG that is not progressive "
                f"{MAX_JPEG_PIXELS} (got {width} x {height})",
                reason=Reason.IMAGE_TOO_LARGE,
            )
        n_copies += self._recipe.version == 1  # version 1 converts the colours at full size
        n_copies += self._turn is not None  # Pillow cannot turn an image in place
        self.n_bytes = n_buffered_bytes + n_pixels * (
            _DECODER_BYTES_PER_PX[self._format] + n_copies * _RGB_BYTES_PER_PX
        )

    def _draft(self, image: ImageFile.ImageFile) -> None:
        """Have a JPEG decoded at a reduced scale; version 1 of the recipe reads MPO at full size."""
        is_whole = self._recipe.version == 1 and self._file is not None and self._file.is_mpo
        if not is_whole:
            width, height = image.size
            image.draft("RGB", (max(1, width // self._factor), max(1, height // self._factor)))

    def _load(self) -> Image.Image:
        try:
            self._image.load()
            return self._image
        except OSError:
            if self._format != "JPEG" or self._file is None:
                raise
        self._image.close()  # to free its memory: two other images are decoded
        return jpeg.complete(self._file.data, self._decode_again, self._height)

    def _decode_again(self, data: bytes) -> Image.Image:
        image = _open(data, self._format)
        self._draft(image)
        image.load()
        return image


def from_pixels(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return the image of decoded pixels, uint8 (H, W, 3) in RGB.

    Raises
    ------
    InvalidArgument
        Another shape or dtype, or no pixels.
    ImageDecodeError
        More than ``MAX_IMAGE_PIXELS`` pixels.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise InvalidArgument(f"pixels must be uint8 of shape (H, W, 3) (got {pixels.dtype} {pixels.shape})")
    if pixels.shape[0] * pixels.shape[1] > MAX_IMAGE_PIXELS:
        raise _too_many_pixels(pixels.shape[1], pixels.shape[0])
    return Image.fromarray(pixels)


def _open(data: bytes, image_format: str) -> ImageFile.ImageFile:
    """Read the header of a file."""
    try:
        if image_format == "WebP":
            _check_webp(data)
        return _PLUGINS[image_format](io.BytesIO(data))
    except ImageDecodeError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageDecodeError(
            f"an image may have at most {MAX_IMAGE_PIXELS} pixels", reason=Reason.IMAGE_TOO_LARGE
        ) from error
    except Exception as error:  # a parser that fails on a damaged header may raise anything
        raise ImageDecodeError(
            f"the header of the {image_format} image is truncated or damaged: {error}", reason=Reason.IMAGE_DAMAGED
        ) from error


def _check_webp(data: bytes) -> None:
    """Refuse a WebP by its declared size: its decoder allocates the canvas while it reads the header."""
    if data[12:16] == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (size & 0x3FFF for size in struct.unpack_from("<HH", data, 26))
    if width * height > MAX_IMAGE_PIXELS:
        raise _too_many_pixels(width, height)


def _too_many_pixels(width: int, height: int) -> ImageDecodeError:
    return ImageDecodeError(
        f"an image may have at most {MAX_IMAGE_PIXELS} pixels (got {width} x {height})", reason=Reason.IMAGE_TOO_LARGE
    )


def _factor(size: tuple[int, int], resize_px: int) -> int:
    """Return the divisor (8, 4, 2 or 1) that leaves at least twice ``resize_px`` of the shorter side."""
    width, height = size
    shrink = 2 * resize_px / min(size)
    largest = min(width // max(1, round(width * shrink)), height // max(1, round(height * shrink)))
    return next(factor for factor in (8, 4, 2, 1) if largest >= factor or factor == 1)
