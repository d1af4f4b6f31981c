"""Bytes of an image to the tensor a network sees: one implementation for training and serving."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from fc7.errors import ImageDecodeError, InvalidArgument, Reason
from fc7_service.bundle.recipe import Recipe

MAX_IMAGE_BYTES = 20 * 2**20
MAX_IMAGE_PIXELS = 50_000_000

# Rare parsers carry the security holes; these three are what photographs come in.
FORMATS = ("JPEG", "PNG", "WEBP")


def decode(data: bytes, *, resize_px: int) -> Image.Image:
    """Decode an encoded image to RGB, upright.

    Parameters
    ----------
    data
        A JPEG, PNG or WebP file; of an animation the first frame.
    resize_px
        What the shorter side will be brought to. A JPEG may be decoded at a
        reduced scale, but not below twice this size.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, EXIF orientation applied.

    Raises
    ------
    ImageDecodeError
        Not such a file, truncated, or above ``MAX_IMAGE_BYTES`` or
        ``MAX_IMAGE_PIXELS`` (judged by the header, before pixels are decoded).
    """
    if not data:
        raise ImageDecodeError("the image is empty: 0 bytes", reason=Reason.IMAGE_EMPTY)
    if len(data) > MAX_IMAGE_BYTES:
        raise ImageDecodeError(
            f"the image has {len(data)} bytes: at most {MAX_IMAGE_BYTES} are accepted", reason=Reason.IMAGE_TOO_LARGE
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ImageDecodeError(
            "the bytes are not an image: JPEG, PNG and WebP are accepted", reason=Reason.UNSUPPORTED_FORMAT
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageDecodeError(
            f"the image has more than {MAX_IMAGE_PIXELS} pixels", reason=Reason.IMAGE_TOO_LARGE
        ) from error
    except Exception as error:  # a parser that fails on a damaged header may raise anything
        raise ImageDecodeError(f"the image's header is damaged: {error}", reason=Reason.IMAGE_DAMAGED) from error
    width, height = image.size
    if width * height > MAX_IMAGE_PIXELS:
        raise ImageDecodeError(
            f"the image has {width} x {height} pixels: at most {MAX_IMAGE_PIXELS} are accepted",
            reason=Reason.IMAGE_TOO_LARGE,
        )
    try:
        if image.format == "JPEG":
            shrink = 2 * resize_px / min(width, height)
            image.draft("RGB", (max(1, round(width * shrink)), max(1, round(height * shrink))))
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ValueError, ...
        raise ImageDecodeError(f"the image is truncated or damaged: {error}", reason=Reason.IMAGE_DAMAGED) from error


def square(image: Image.Image, recipe: Recipe) -> NDArray[np.uint8]:
    """Resize and crop ``image``; return uint8 (crop_px, crop_px, 3)."""
    # One pass over the wanted part only.
    box = crop_box(image.size, recipe)
    small = image.resize((recipe.crop_px, recipe.crop_px), Image.Resampling.BILINEAR, box=box)
    return np.asarray(small, dtype=np.uint8)


def crop_box(size: tuple[int, int], recipe: Recipe) -> tuple[float, float, float, float]:
    """Return what is cut of an image of ``size`` (width, height): left, top, right, bottom in its own pixels."""
    width, height = size
    shrink = recipe.resize_px / min(width, height)
    wide, high = max(recipe.resize_px, round(width * shrink)), max(recipe.resize_px, round(height * shrink))
    left, top = ((s - recipe.crop_px) // 2 for s in (wide, high))
    to_x, to_y = width / wide, height / high
    return left * to_x, top * to_y, (left + recipe.crop_px) * to_x, (top + recipe.crop_px) * to_y


def see(
    image: bytes | NDArray[np.uint8], recipe: Recipe
) -> tuple[NDArray[np.uint8], NDArray[np.float32], tuple[float, float, float, float]]:
    """Return what a network sees of an image, an encoded file or pixels as ``from_pixels`` takes them.

    Returns
    -------
    tuple
        Pixels, uint8 (crop_px, crop_px, 3); their tensor, float32 (3, crop_px, crop_px); left, top, right and
        bottom of the crop as shares of the upright image's width and height.
    """
    opened = decode(image, resize_px=recipe.resize_px) if isinstance(image, bytes) else from_pixels(image)
    pixels = square(opened, recipe)
    (width, height), (left, top, right, bottom) = opened.size, crop_box(opened.size, recipe)
    return pixels, to_tensor(pixels, recipe), (left / width, top / height, right / width, bottom / height)


def to_tensor(pixels: NDArray[np.uint8], recipe: Recipe) -> NDArray[np.float32]:
    """Scale and order pixels: uint8 (H, W, 3) to float32 (3, H, W)."""
    mean, std = np.asarray(recipe.mean, np.float32), np.asarray(recipe.std, np.float32)
    values: NDArray[np.float32] = (pixels.astype(np.float32) * np.float32(recipe.scale) - mean) / std
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def preprocess(data: bytes, recipe: Recipe) -> NDArray[np.float32]:
    """Return the tensor (3, crop_px, crop_px) float32 of an encoded image."""
    return to_tensor(square(decode(data, resize_px=recipe.resize_px), recipe), recipe)


def preprocess_pixels(pixels: NDArray[np.uint8], recipe: Recipe) -> NDArray[np.float32]:
    """Return the tensor (3, crop_px, crop_px) float32 of decoded pixels, as ``from_pixels`` takes them."""
    return to_tensor(square(from_pixels(pixels), recipe), recipe)


def preprocess_views(image: bytes | NDArray[np.uint8], recipe: Recipe, n_views: int) -> NDArray[np.float32]:
    """Return the tensors of an image's views.

    Parameters
    ----------
    image
        An encoded file, or pixels as ``from_pixels`` takes them.
    recipe
        Of one view. Where it resizes to no more than it cuts, ten views are cut of the
        picture at 256/224 of that size.
    n_views
        1, as ``preprocess``, or 10: centre and four corners of the centre square, then the same mirrored.

    Returns
    -------
    numpy.ndarray
        float32 (n_views, 3, crop_px, crop_px).

    References
    ----------
    Krizhevsky, Sutskever & Hinton 2012, section 4.1.
    """
    wide = recipe if n_views == 1 else recipe.with_margin()
    opened = decode(image, resize_px=wide.resize_px) if isinstance(image, bytes) else from_pixels(image)
    if n_views == 1:
        return to_tensor(square(opened, recipe), recipe)[np.newaxis]
    whole = square(opened, wide.with_crop(wide.resize_px))
    return np.stack([to_tensor(view, recipe) for view in _ten_views(whole, recipe.crop_px)])


def from_pixels(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return the image of decoded pixels, uint8 (H, W, 3) in RGB.

    Raises
    ------
    InvalidArgument
        Another shape or dtype, no pixel, or more than ``MAX_IMAGE_PIXELS``.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise InvalidArgument(f"pixels are {pixels.dtype} {pixels.shape}: uint8 (H, W, 3) is expected")
    if pixels.shape[0] * pixels.shape[1] > MAX_IMAGE_PIXELS:
        raise ImageDecodeError(f"the image has more than {MAX_IMAGE_PIXELS} pixels", reason=Reason.IMAGE_TOO_LARGE)
    return Image.fromarray(pixels)


def _ten_views(whole: NDArray[np.uint8], crop_px: int) -> list[NDArray[np.uint8]]:
    end = len(whole) - crop_px
    corners = [(end // 2, end // 2), (0, 0), (0, end), (end, 0), (end, end)]
    views = [whole[top : top + crop_px, left : left + crop_px] for top, left in corners]
    return views + [view[:, ::-1] for view in views]


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":  # convert("RGB") would clip at 255
        values = np.asarray(image).astype(np.uint32) >> 8
        image = Image.fromarray(values.clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
    return image.convert("RGB")
