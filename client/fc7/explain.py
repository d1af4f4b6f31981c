"""The methods of `client.explain`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from fc7._async_session import AsyncSession
from fc7._operations import explain
from fc7._session import Session
from fc7.explanations import ClassReason, Match, Occlusion, Projections, TopUnits
from fc7.images import ImageLike


class Explain:
    """Explanations: which parts of a picture an answer rests on. `Client.explain` returns it.

    Images are given as in `Client.extract`. ``rule`` is "deconv" (Zeiler & Fergus 2013), "gradient" (Simonyan et al.
    2013) or "guided" (Springenberg et al. 2014). ``timeout_s`` is seconds for the whole call and defaults to the
    client's. Every projection is float32 (P, P, 3), not scaled; P is the side of the view in pixels.
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
        """Project units of a layer to the pixels that activated them.

        Parameters
        ----------
        image
            The image.
        layer
            "conv1" to the last convolution, "pool5", "fc6", "fc7" or "logits". The error for a wrong name lists them.
        units
            At most 64 feature maps of a spatial layer, or positions in the feature. Defaults to the strongest units.
        positions
            Row * width + column in the feature map, one per unit. Defaults to where each unit is strongest.
        strongest
            How many units to project, if ``units`` is empty.
        rule
            See `Explain`.
        model
            Name of the model. Defaults to the server's default model.

        Raises
        ------
        InvalidArgument
            There is no such unit, position or rule.
        NotFound
            There is no such model or layer.
        FailedPrecondition
            The model has no deconvnet.
        ImageDecodeError
            The image cannot be decoded.

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
        """Find the nine images that activate each unit of a layer most.

        The server remembers the result for these images and this model. A second call, for the same or other units,
        sends no image.

        Parameters
        ----------
        images
            Read twice: first for their digests, then to be sent.
        layer
            Name of the layer. See `unit`.
        units
            Units to return. Defaults to all units of the layer.
        model
            Name of the model. Defaults to the server's default model.
        report
            Called with the number of images done, after each batch.

        Raises
        ------
        InvalidArgument
            There is no image, or no such unit.
        NotFound
            There is no such model or layer.
        FailedPrecondition
            The model has no deconvnet.
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
        """Split the cosine similarity of two images into shares of units and, if that is exact, of positions.

        Parameters
        ----------
        query, neighbour
            The two images.
        layer, model
            Layer and model to compare with. They default to the model's default layer and the server's default
            model.
        collection
            Use the layer and model of this collection instead.
        strongest
            How many units to project in both images: those that contribute most.
        rule
            See `Explain`.

        Raises
        ------
        FailedPrecondition
            No model of the server makes the collection's features, or all values of the layer are zero for one of
            the images.
        NotFound
            There is no such model, layer or collection.
        ImageDecodeError
            The image cannot be decoded.
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
        """Split the logit of a class into shares of units and, if that is exact, of positions.

        Parameters
        ----------
        image
            The image.
        label
            The class. Defaults to the most probable class.
        head
            A published head. Defaults to the model's own classes.
        model
            Name of the model, if no head is given. Defaults to the server's default model.
        strongest
            How many units to project: those that contribute most.
        rule
            See `Explain`.

        Raises
        ------
        NotFound
            There is no such class, head or model.
        FailedPrecondition
            No version of the head is published, no model of the server makes its features, or the model has no
            classes.
        ImageDecodeError
            The image cannot be decoded.

        References
        ----------
        Zhou et al. 2016 (class-activation maps), for the shares of positions.
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
        """Cover parts of an image with a grey square, one after the other, and classify each view.

        Parameters
        ----------
        image
            The image.
        label
            Class to watch. Defaults to the most probable class of the whole image.
        head, model
            See `label`.
        square_px
            Side of the square in pixels of the view. Defaults to a quarter of the view.
        grid
            Positions of the square along each side, 2 to 64.
        report
            Called with the number of views done, after each batch.

        Raises
        ------
        InvalidArgument
            The square or the grid is out of range.
        NotFound
            There is no such class, head or model.
        FailedPrecondition
            See `label`.
        ImageDecodeError
            The image cannot be decoded.

        References
        ----------
        Zeiler & Fergus 2013, section 4.2 and figure 7.
        """
        return self._session.run(explain.occlude(image, label, head, model, square_px, grid, report), timeout_s)


class AsyncExplain:
    """Explanations for asyncio. `AsyncClient.explain` returns it; its methods are those of `Explain`."""

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
        """Project units of a layer to the pixels that activated them. See `Explain.unit`."""
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
        """Find the nine images that activate each unit of a layer most. See `Explain.top`."""
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
        """Split the cosine similarity of two images. See `Explain.match`."""
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
        """Split the logit of a class. See `Explain.label`."""
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
        """Cover parts of an image with a grey square and classify each view. See `Explain.occlude`."""
        return await self._session.run(explain.occlude(image, label, head, model, square_px, grid, report), timeout_s)
