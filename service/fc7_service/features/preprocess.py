"""Turn an image into the tensor that a network sees. Training and serving share this code."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fc7_service.bundle.recipe import Recipe
from fc7_service.features.decode import Picture
from fc7_service.features.image_part import ImagePart


def decode_upright(image: bytes | NDArray[np.uint8], recipe: Recipe) -> Image.Image:
    """Decode an image; return it in RGB, upright."""
    return Picture(image, recipe).upright()


def resize_and_crop(image: Image.Image, recipe: Recipe) -> NDArray[np.uint8]:
    """Resize and crop ``image``; return uint8 (crop_px, crop_px, 3)."""
    box = crop_box(image.size, recipe)
    small = image.resize((recipe.crop_px, recipe.crop_px), Image.Resampling.BILINEAR, box=box)
    return np.asarray(small, dtype=np.uint8)


def crop_box(size: tuple[int, int], recipe: Recipe) -> tuple[float, float, float, float]:
    """Return the crop of an image of ``size`` (width, height): left, top, right, bottom in the image's pixels."""
    width, height = size
    shrink = recipe.resize_px / min(width, height)
    wide, high = max(recipe.resize_px, round(width * shrink)), max(recipe.resize_px, round(height * shrink))
    left, top = ((s - recipe.crop_px) // 2 for s in (wide, high))
    to_x, to_y = width / wide, height / high
    return left * to_x, top * to_y, (left + recipe.crop_px) * to_x, (top + recipe.crop_px) * to_y


def preprocess_with_crop(
    image: bytes | NDArray[np.uint8], recipe: Recipe
) -> tuple[NDArray[np.uint8], NDArray[np.float32], tuple[float, float, float, float]]:
    """Return the tensor of an image, and the crop that it shows.

    Parameters
    ----------
    image
        An encoded file, or pixels, uint8 (H, W, 3) in RGB.
    recipe
        Says how to resize, crop and scale it.

    Returns
    -------
    tuple
        The cropped pixels, uint8 (crop_px, crop_px, 3); their tensor, float32 (3, crop_px, crop_px); left, top, right
        and bottom of the crop as fractions of the upright image's width and height.
    """
    upright = decode_upright(image, recipe)
    pixels = resize_and_crop(upright, recipe)
    (width, height), (left, top, right, bottom) = upright.size, crop_box(upright.size, recipe)
    return pixels, to_tensor(pixels, recipe), (left / width, top / height, right / width, bottom / height)


def to_tensor(pixels: NDArray[np.uint8], recipe: Recipe) -> NDArray[np.float32]:
    """Scale pixels, uint8 (H, W, 3), and put the channels first: float32 (3, H, W)."""
    mean, std = np.asarray(recipe.mean, np.float32), np.asarray(recipe.std, np.float32)
    values: NDArray[np.float32] = (pixels.astype(np.float32) * np.float32(recipe.scale) - mean) / std
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def preprocess(data: bytes, recipe: Recipe) -> NDArray[np.float32]:
    """Return the tensor, float32 (3, crop_px, crop_px), of an image file."""
    return to_tensor(resize_and_crop(decode_upright(data, recipe), recipe), recipe)


def preprocess_pixels(pixels: NDArray[np.uint8], recipe: Recipe) -> NDArray[np.float32]:
    """Return the tensor, float32 (3, crop_px, crop_px), of pixels, uint8 (H, W, 3) in RGB."""
    return to_tensor(resize_and_crop(decode_upright(pixels, recipe), recipe), recipe)


def preprocess_views(image: bytes | NDArray[np.uint8], recipe: Recipe, n_views: int) -> NDArray[np.float32]:
    """Return the tensors of the views of an image file or of pixels; see ``cut_views``."""
    return cut_views(open_views(image, recipe, n_views), recipe, n_views)


def open_views(image: bytes | NDArray[np.uint8] | ImagePart, recipe: Recipe, n_views: int) -> Picture:
    """Read the header of an image, to cut views from it later with ``cut_views``."""
    return Picture(image, recipe if n_views == 1 else recipe.with_margin())


def cut_views(picture: Picture, recipe: Recipe, n_views: int) -> NDArray[np.float32]:
    """Return the tensors of the views of an image.

    Parameters
    ----------
    picture
        From ``open_views``.
    recipe
        The recipe of one view. If it leaves no room around the crop, the image is resized to 256/224 of the crop
        before ten views are cut.
    n_views
        1, as in ``preprocess``, or 10: the centre and the four corners of the centre square, then the same mirrored.

    Returns
    -------
    numpy.ndarray
        float32 (n_views, 3, crop_px, crop_px).

    References
    ----------
    Krizhevsky, Sutskever & Hinton 2012, section 4.1.
    """
    upright = picture.upright()
    if n_views == 1:
        return to_tensor(resize_and_crop(upright, recipe), recipe)[np.newaxis]
    wide = recipe.with_margin()
    whole = resize_and_crop(upright, wide.with_crop(wide.resize_px))
    return np.stack([to_tensor(view, recipe) for view in _ten_views(whole, recipe.crop_px)])


def _ten_views(whole: NDArray[np.uint8], crop_px: int) -> list[NDArray[np.uint8]]:
    end = len(whole) - crop_px
    corners = [(end // 2, end // 2), (0, 0), (0, end), (end, 0), (end, end)]
    views = [whole[top : top + crop_px, left : left + crop_px] for top, left in corners]
    return views + [view[:, ::-1] for view in views]
