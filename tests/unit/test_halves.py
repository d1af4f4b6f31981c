"""Conversions from and to fp16 give what NumPy's own give, bit by bit."""

from __future__ import annotations

import numpy as np

from fc7_service.collections.halves import compact, narrow, widen

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


def test_narrowing_rounds_as_numpy_does():
    rng = np.random.default_rng(0)
    middles = (FINITE[:-1].astype(np.float64) + FINITE[1:].astype(np.float64)).astype(np.float32) / 2  # ties
    steps = np.concatenate([np.nextafter(middles, np.float32(side)) for side in (-np.inf, np.inf)])
    spread = (rng.normal(size=2**16) * 10.0 ** rng.integers(-9, 4, 2**16)).astype(np.float32)
    values = np.concatenate([FINITE.astype(np.float32), middles, steps, spread])
    values = values[np.abs(values) <= 65504]
    assert np.array_equal(narrow(values).view(np.uint16), values.astype(np.float16).view(np.uint16))


def test_rows_stay_within_an_error_of_a_thousandth_or_keep_float32():
    rng = np.random.default_rng(1)
    scales = (10.0 ** np.arange(-12, 7)).astype(np.float32)
    rows = [scale * rng.normal(size=64).astype(np.float32) for scale in scales for _ in range(20)]
    rows += [np.zeros(64, np.float32), np.full(64, 65519, np.float32), np.full(64, 65520, np.float32)]
    kept = compact(rows)
    for row, one in zip(rows, kept, strict=True):
        with np.errstate(over="ignore"):
            half, exact = row.astype(np.float16), row.astype(np.float64)
        fits = np.isfinite(half).all() and np.linalg.norm(half - exact) <= 1e-3 * np.linalg.norm(exact)
        assert one.dtype == (np.float16 if fits else np.float32)
        assert np.array_equal(one, half if fits else row)
    assert {one.dtype.type for one in kept} == {np.float16, np.float32}
    assert compact([]) == []
