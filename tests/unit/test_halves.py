"""Every finite fp16 value becomes the same number as by NumPy's own conversion."""

from __future__ import annotations

import numpy as np

from fc7_service.collections.halves import widen

ALL = np.arange(2**16, dtype=np.uint16).view(np.float16)
FINITE = ALL[np.isfinite(ALL)]


def test_every_value_is_exact_and_zeros_keep_their_sign():
    assert widen(FINITE).dtype == np.float32
    assert np.array_equal(widen(FINITE).view(np.uint32), FINITE.astype(np.float32).view(np.uint32))


def test_rows_in_any_layout_and_of_any_type():
    rows = FINITE[:1024].reshape(32, 32)
    assert np.array_equal(widen(rows[::2, ::3]), rows[::2, ::3].astype(np.float32))
    wide = np.array([[1e30, 2.5]], np.float32)
    assert np.array_equal(widen(wide), wide)
    assert widen(wide) is not wide
    assert widen(np.empty((0, 7), np.float16)).shape == (0, 7)
