"""A transformer of scikit-learn from pictures to features."""

from __future__ import annotations

import atexit
import functools
import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags

from fc7._connect import connect
from fc7.images import ImageLike

if TYPE_CHECKING:
    from fc7.client import Client

_connecting = threading.Lock()


class FeatureExtractor(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Turn pictures into features, as `Client.extract` does.

    There is nothing to fit. All extractors of a process with the same ``address``, ``data`` and ``models`` share one
    connection, which is opened by the first `transform` and closed when the process ends.

    Parameters
    ----------
    model, layer, views
        See `Client.extract`.
    address, data, models
        See `connect`. Without an address, the server runs in this process.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from fc7.sklearn import FeatureExtractor
    >>> pipeline = make_pipeline(FeatureExtractor(data="data"), LogisticRegression())
    """

    def __init__(
        self,
        *,
        model: str = "",
        layer: str = "",
        views: int = 1,
        address: str | None = None,
        data: str | os.PathLike[str] | None = None,
        models: Sequence[str] = (),
    ) -> None:
        self.model, self.layer, self.views = model, layer, views
        self.address, self.data, self.models = address, data, models

    def fit(self, X: Any, y: Any = None) -> FeatureExtractor:  # noqa: N803
        """Return the extractor as it is."""
        return self

    def transform(self, X: Iterable[ImageLike]) -> NDArray[np.float32]:  # noqa: N803
        """Return one feature per picture.

        Parameters
        ----------
        X
            Pictures: paths, bytes, Pillow images, or arrays uint8 (H, W, 3) or (H, W). An array or a column of a table
            holds one picture per row.

        Returns
        -------
        NDArray[np.float32]
            (N, D).

        Raises
        ------
        ValueError
            X is one picture, or a table with several columns.
        ImageDecodeError
            A picture cannot be decoded.
        """
        data = None if self.data is None else str(self.data)
        client = _client(os.getpid(), self.address, data, tuple(self.models))
        return client.extract(_pictures(X), model=self.model, layer=self.layer, views=self.views).values

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.requires_fit, tags.no_validation = False, True
        tags.input_tags.two_d_array, tags.input_tags.three_d_array, tags.input_tags.string = False, True, True
        return tags


def _pictures(x: Any) -> list[ImageLike]:
    """Return pictures as a list; a table with one column is taken as this column."""
    if isinstance(x, str | bytes | os.PathLike) or hasattr(x, "convert") or not isinstance(x, Iterable):
        raise ValueError(f"X must be a list of pictures (got {type(x).__name__})")
    if hasattr(x, "columns") or (isinstance(x, np.ndarray) and x.dtype.kind in "OU" and x.ndim == 2):
        table = np.asarray(x, object)
        if table.shape[1] != 1:
            raise ValueError(f"X must have one column of pictures (got {table.shape[1]} columns)")
        return list(table[:, 0])
    return list(x)


def _client(process: int, address: str | None, data: str | None, models: tuple[str, ...]) -> Client:
    with _connecting:
        return _connect(process, address, data, models)


@functools.cache
def _connect(process: int, address: str | None, data: str | None, models: tuple[str, ...]) -> Client:
    client = connect(address, data=None if data is None else Path(data), models=models)
    atexit.register(client.close)
    return client
