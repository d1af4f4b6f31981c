"""Calls that turn images into features."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from fc7._operations import feature
from fc7._operations.feature import OnError, OnStreamError
from fc7._session import Session
from fc7.feature_stream import FeatureStream
from fc7.features import Features
from fc7.images import ImageLike


class FeatureCalls:
    """Calls that turn images into features."""

    _session: Session

    def extract(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        layer: str = "",
        model: str = "",
        ensemble: Sequence[str] = (),
        views: int = 1,
        on_error: OnError = "raise",
        timeout_s: float | None = None,
        report: Callable[[int], object] | None = None,
    ) -> Features:
        """Return one feature per image, in input order.

        Parameters
        ----------
        images
            One image or an iterable of images. An image is a path, a URL (http, https), the bytes of a file, a file
            opened with "rb", a Pillow image, or a uint8 array: (H, W, 3) in RGB or (H, W) in grey. An array of
            paths or of images (N, H, W, 3) is a list of images.
        layer
            Name of the layer. Defaults to the model's default layer.
        model
            Name of the model. Defaults to the server's default model.
        ensemble
            Names of two or more models, instead of ``model``. Their features are scaled to length 1 and joined.
        views
            1, or 10: the mean over the corners and the centre of each image, and their mirror images.
        on_error
            "raise": an unreadable image ends the call. "skip": it is listed in `Features.failed` and has no row.
        timeout_s
            Seconds for the whole call. Defaults to the client's ``timeout_s``.
        report
            Called with the number of images done, after each batch.

        Returns
        -------
        Features
            `values` float32 (N, D), as the layer gives them: "fc6" and "fc7" are after the ReLU and not normalised.
            The default layer of the models that fc7 comes with, "conv5_pooled", is whitened; it has negative values.

        Raises
        ------
        ImageDecodeError
            An image cannot be decoded. `index` says which one.
        InvalidArgument
            ``views`` is neither 1 nor 10, or the ensemble has one model, repeats a model or stands beside ``model``.
        NotFound
            There is no such model, layer or file.
        DeadlineExceeded
            The call did not finish within ``timeout_s``.

        References
        ----------
        Krizhevsky et al. 2012, sections 3.5 and 6.1 (4096-d last hidden layer as image distance).

        Examples
        --------
        >>> features = client.extract(["a.jpg", "b.jpg"])
        >>> len(features), features.values.dtype
        (2, dtype('float32'))
        """
        return self._session.run(feature.extract(images, layer, model, ensemble, views, on_error, report), timeout_s)

    def extract_stream(
        self,
        images: Iterable[ImageLike],
        *,
        layer: str = "",
        model: str = "",
        ensemble: Sequence[str] = (),
        views: int = 1,
        on_error: OnStreamError = "yield",
        timeout_s: float | None = None,
    ) -> FeatureStream:
        """Yield one feature float32 (D,) or error per image, in input order. The iterable may be endless.

        The images are read in another thread, a few ahead of the answers.

        Parameters
        ----------
        images, layer, model, ensemble, views
            See `extract`.
        on_error
            "yield": the error takes the place of the image's feature. "raise": it ends the stream. "skip": the image
            is left out, and the features no longer line up with the images.
        timeout_s
            Seconds for the whole stream. Defaults to the client's ``timeout_s``.

        Returns
        -------
        FeatureStream
            An iterator with `provenance` and `close()`.

        Examples
        --------
        >>> for feature in client.extract_stream(["a.jpg", "b.jpg"]):
        ...     print(feature.ndim)
        1
        1
        """
        facts = feature.StreamFacts()
        operation = feature.extract_stream(images, layer, model, ensemble, views, on_error, facts)
        return FeatureStream(self._session.iterate(operation, timeout_s), facts)
