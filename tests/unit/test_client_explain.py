"""Numbers that the client sends with explanations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fc7._operations import explain
from fc7._operations.steps import SendRequest
from fc7.errors import InvalidArgument
from fc7.v1 import explain_pb2 as pb


def unit(units: Any = (), strongest: Any = 0) -> pb.ProjectUnitRequest:
    """Return the request of a call."""
    steps = explain.unit(b"image", "conv5", units, (), strongest, "deconv", "")
    call = steps.send(next(steps).function())
    assert isinstance(call, SendRequest)
    assert isinstance(call.request, pb.ProjectUnitRequest)
    return call.request


def test_whole_numbers_of_any_kind_are_sent() -> None:
    assert list(unit(units=[0, 2**31 - 1]).units) == [0, 2**31 - 1]
    assert list(unit(units=np.array([3, 4], np.uint8), strongest=np.int64(5)).units) == [3, 4]


@pytest.mark.parametrize("value", [1.7, "3", float("nan"), -1, 2**31, None])
def test_other_numbers_are_refused_with_both_ends(value: Any) -> None:
    with pytest.raises(InvalidArgument, match=f"units must be an integer from 0 to 2147483647 .got {value!r}"):
        unit(units=[1, value])
    with pytest.raises(InvalidArgument, match=f"strongest must be an integer from 0 to 2147483647 .got {value!r}"):
        unit(strongest=value)
