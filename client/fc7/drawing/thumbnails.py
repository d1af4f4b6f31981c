"""Small pictures inside an HTML page."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from fc7.drawing.pictures import open_upright

_SIDE_PX, _QUALITY = 120, 80


def draw_thumbnail(path: Path) -> str:
    """Return the middle square of a picture as a data URL; empty if Pillow cannot open the file."""
    from PIL import Image, ImageOps

    try:
        image = open_upright(path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # the page shows the id instead
        return ""
    small = io.BytesIO()
    ImageOps.fit(image, (_SIDE_PX, _SIDE_PX), Image.Resampling.LANCZOS).save(small, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(small.getvalue()).decode()}"
