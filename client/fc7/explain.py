"""`client.explain`: why a network answers as it does, in pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from fc7._async_session import AsyncSession
from fc7._operations import explain
from fc7._session import Session
from fc7.explanations import ClassReason, Match, Occlusion, Projections, TopUnits
from fc7.images import ImageLike


class Explain:
    """Explanations of what a server's networks make of images, as `Client.explain`.

    Images are given as `Client.extract` takes them. ``rule`` is "deconv" (Zeiler & Fergus 2013), "gradient"
    (Simonyan 2013) or "guided" (Springenberg 2014). Every projection is float32 (P, P, 3), unscaled.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def unit(
        self,
        image: ImageLike,
        *,
        layer: str = "conv5",
        units: Sequence[int] = (),
        positions: Sequence[int] = (),
        strongest: int = 9,
        rule: str = "deconv",
        model: str = "",
        timeout_s: float | None = None,
    ) -> Projections:
        """Project units of a layer to the pixels that made them fire.

        Parameters
        ----------
        layer
            "conv1" to the last convolution, "pool5", "fc6", "fc7", "logits": the error of a wrong one lists them.
        units
            Maps of a spatial layer, else numbers of the feature, 64 at most; none for the strongest.
        positions
            Row * width + column in the map, one a unit; none for where each is strongest.
        strongest
            How many, where no unit is named.

        Raises
        ------
        InvalidArgument
            A unit, position or rule that does not exist.
        FailedPrecondition, NotFound
            The network has no deconvnet, or not of this layer.
        ImageDecodeError
            The image cannot be read.

        References
        ----------
        Zeiler & Fergus 2013, section 2.1.
        """
        return self._session.run(explain.unit(image, layer, units, positions, strongest, rule, model), timeout_s)

    def top(
        self,
        images: Iterable[ImageLike],
        *,
        layer: str = "conv5",
        units: Sequence[int] = (),
        model: str = "",
        timeout_s: float | None = None,
        report: Callable[[int], object] | None = None,
    ) -> TopUnits:
        """Find the nine images that excite each unit of a layer most.

        The server keeps the pass by the network and the images' content: a second call over the same images, for
        whatever units, sends none of them.

        Parameters
        ----------
        images
            Read twice: for their digests, then to be sent.
        units
            None for all of the layer.
        report
            Called with the number of images done, after each batch.

        Raises
        ------
        InvalidArgument
            No image, or a unit that does not exist.
        FailedPrecondition, NotFound
            The network has no deconvnet, or not of this layer.
        Aborted
            An image changed during the call.

        References
        ----------
        Zeiler & Fergus 2013, figure 2.
        """
        return self._session.run(explain.top(images, layer, units, model, report), timeout_s)

    def match(
        self,
        query: ImageLike,
        neighbour: ImageLike,
        *,
        layer: str = "",
        model: str = "",
        collection: str | None = None,
        strongest: int = 5,
        rule: str = "deconv",
        timeout_s: float | None = None,
    ) -> Match:
        """Split the cosine of two images over units and, where the layer allows it exactly, over positions.

        Parameters
        ----------
        layer, model
            Empty for the server's default and that model's default.
        collection
            In place of both: those of a collection.
        strongest
            How many of the units that carry most are projected, in both images.

        Raises
        ------
        FailedPrecondition
            No model here makes the collection's features, or the layer is zero for one of the images.
        NotFound
            No such model, layer or collection.
        ImageDecodeError
            An image cannot be read.
        """
        return self._session.run(explain.match(query, neighbour, layer, model, collection, strongest, rule), timeout_s)

    def label(
        self,
        image: ImageLike,
        *,
        label: str = "",
        head: str = "",
        model: str = "",
        strongest: int = 9,
        rule: str = "deconv",
        timeout_s: float | None = None,
    ) -> ClassReason:
        """Split the logit of a class over units and, where the network allows it exactly, over positions.

        Parameters
        ----------
        label
            Class; empty for the most probable.
        head
            A published head; empty for the network's own classes.
        model
            Without a head: model name, empty for the server's default.
        strongest
            How many of the units that carry most are projected.

        Raises
        ------
        NotFound
            No such class, head or model.
        FailedPrecondition
            No version of the head is published, no model here made its features, or the network has no classes.
        ImageDecodeError
            The image cannot be read.

        References
        ----------
        Zhou et al. 2016 (class-activation maps), where the positions are split.
        """
        return self._session.run(explain.label(image, label, head, model, strongest, rule), timeout_s)

    def occlude(
        self,
        image: ImageLike,
        *,
        label: str = "",
        head: str = "",
        model: str = "",
        square_px: int = 0,
        grid: int = 20,
        timeout_s: float | None = None,
        report: Callable[[int], object] | None = None,
    ) -> Occlusion:
        """Sweep a grey square over an image and classify each view.

        Parameters
        ----------
        label
            Class to watch; empty for the most probable of the whole image.
        head, model
            As `label` takes them.
        square_px
            Side of the square in pixels of the view; 0 for a quarter of the view.
        grid
            Views along each side, 2 to 64.
        report
            Called with the number of views done, after each batch.

        Raises
        ------
        InvalidArgument
            A square or a grid out of range.
        NotFound
            No such class, head or model.
        FailedPrecondition
            As `label`.
        ImageDecodeError
            The image cannot be read.

        References
        ----------
        Zeiler & Fergus 2013, section 4.2 and figure 7.
        """
        return self._session.run(explain.occlude(image, label, head, model, square_px, grid, report), timeout_s)


class AsyncExplain:
    """Explanations, as `Explain`, on the running event loop."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def unit(
        self,
        image: ImageLike,
        *,
        layer: str = "conv5",
        units: Sequence[int] = (),
        positions: Sequence[int] = (),
        strongest: int = 9,
        rule: str = "deconv",
        model: str = "",
        timeout_s: float | None = None,
    ) -> Projections:
        """Project units of a layer, as `Explain.unit`."""
        return await self._session.run(explain.unit(image, layer, units, positions, strongest, rule, model), timeout_s)

    async def top(
        self,
        images: Iterable[ImageLike],
        *,
        layer: str = "conv5",
        units: Sequence[int] = (),
        model: str = "",
        timeout_s: float | None = None,
        report: Callable[[int], object] | None = None,
    ) -> TopUnits:
        """Find the nine images that excite each unit most, as `Explain.top`."""
        return await self._session.run(explain.top(images, layer, units, model, report), timeout_s)

    async def match(
        self,
        query: ImageLike,
        neighbour: ImageLike,
        *,
        layer: str = "",
        model: str = "",
        collection: str | None = None,
        strongest: int = 5,
        rule: str = "deconv",
        timeout_s: float | None = None,
    ) -> Match:
        """Split the cosine of two images, as `Explain.match`."""
        return await self._session.run(
            explain.match(query, neighbour, layer, model, collection, strongest, rule), timeout_s
        )

    async def label(
        self,
        image: ImageLike,
        *,
        label: str = "",
        head: str = "",
        model: str = "",
        strongest: int = 9,
        rule: str = "deconv",
        timeout_s: float | None = None,
    ) -> ClassReason:
        """Split the logit of a class, as `Explain.label`."""
        return await self._session.run(explain.label(image, label, head, model, strongest, rule), timeout_s)

    async def occlude(
        self,
        image: ImageLike,
        *,
        label: str = "",
        head: str = "",
        model: str = "",
        square_px: int = 0,
        grid: int = 20,
        timeout_s: float | None = None,
        report: Callable[[int], object] | None = None,
    ) -> Occlusion:
        """Sweep a grey square over an image, as `Explain.occlude`."""
        return await self._session.run(explain.occlude(image, label, head, model, square_px, grid, report), timeout_s)
