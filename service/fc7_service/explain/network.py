"""Run any part of a bundle's graph, and know the layers that its deconvnet can project."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound, Reason
from fc7_service.bundle.bundle import DECONV, SUMS, Bundle
from fc7_service.bundle.onnx_file import read_metadata
from fc7_service.bundle.provenance import Provenance
from fc7_service.bundle.recipe import Recipe
from fc7_service.explain.projection import Place
from fc7_service.explain.session_cache import SessionCache

RULES = ("deconv", "gradient", "guided")


@dataclass(frozen=True, slots=True)
class DeconvLayer:
    """A layer that can be projected, and the receptive field of its units."""

    name: str
    channels: int
    map: tuple[int, int] | None  # rows, columns at the recipe's size; None if a unit sees the whole image
    size: int  # side of a receptive field in px
    stride: int  # px between two receptive fields; 0 if each is the whole image
    offset: int  # first px of the first receptive field; may be negative

    def place(self, unit: int, position: tuple[int, int], value: float, px: int) -> Place:
        """Return a unit at a (row, column) of its map, in an image with sides of ``px``."""
        (top, bottom), (left, right) = (self._edges(index, px) for index in position)
        return Place(unit, value, *position, box=(left, top, right, bottom))

    def _edges(self, index: int, px: int) -> tuple[int, int]:
        if not self.stride:
            return 0, px
        first = self.offset + index * self.stride
        return max(0, first), min(px, first + self.size)


class Network:
    """A bundle, as explanations use it. Not safe for several threads.

    Parameters
    ----------
    bundle
        Its graphs are read when they are first needed.
    sessions
        Shared by all networks.
    """

    def __init__(self, bundle: Bundle, sessions: SessionCache) -> None:
        self.bundle = bundle
        # (spatial layers, layer, axis) for which the layer was found not to be linear in them.
        self.not_linear: set[tuple[tuple[str, ...], str, int]] = set()
        self._read: dict[tuple[str, ...], tuple[str, ...]] = {}  # (layer, *inputs) -> the inputs that it reads
        self._sessions = sessions
        self._deconv: dict[str, DeconvLayer] | None = None
        self._sums: dict[str, tuple[str, ...]] | None = None

    def close(self) -> None:
        """Close its sessions."""
        self._sessions.drop(self.bundle)

    def run(
        self,
        outputs: Sequence[str],
        tensors: NDArray[np.float32],
        given: Mapping[str, NDArray[Any]] | None = None,
        inputs: Sequence[str] = (),
    ) -> list[NDArray[Any]]:
        """Compute tensors of the graph.

        Parameters
        ----------
        outputs
            Names of the tensors.
        tensors
            Images, float32 (N, 3, H, W).
        given
            Values of other inputs, by name.
        inputs
            Names in ``given`` whose values replace what the graph would compute.

        Raises
        ------
        FailedPrecondition
            The graph has no such tensor, or an output does not depend on ``inputs``.
        """
        session = self._sessions.get(self.bundle, tuple(outputs), tuple(inputs))
        feed = {node.name: (given or {}).get(node.name, tensors) for node in session.get_inputs()}
        values: list[NDArray[Any]] = session.run(list(outputs), feed)
        return values

    def reads(self, layer: str, inputs: Sequence[str]) -> tuple[str, ...]:
        """Return the ``inputs`` from which ``layer`` is computed if the values of all of them are given."""
        key = (layer, *inputs)
        if key not in self._read:
            try:
                session = self._sessions.get(self.bundle, (layer,), tuple(inputs))
                needed = {node.name for node in session.get_inputs()}
            except FailedPrecondition:
                needed = set()
            self._read[key] = tuple(name for name in inputs if name in needed)
        return self._read[key]

    def sums(self, layer: str) -> tuple[str, ...]:
        """Return the maps of the same units in which a layer is jointly linear; none if the graph file names none.

        Raises
        ------
        DataLoss
            The metadata of the graph file is malformed.
        """
        if self._sums is None:
            text = read_metadata(self.bundle.graph()).get(SUMS, "{}")
            try:
                self._sums = {str(name): tuple(map(str, tensors)) for name, tensors in json.loads(text).items()}
            except (AttributeError, TypeError, ValueError) as error:
                raise DataLoss(
                    f"metadata {SUMS!r} of bundle {self.bundle.name!r} is malformed: {text[:64]!r}",
                    name=SUMS,
                    reason=Reason.BUNDLE_DAMAGED,
                ) from error
        return self._sums.get(layer, ())

    def provenance(self, layer: str) -> Provenance:
        """Return the provenance of a layer's activations, even if the layer is not served."""
        if layer in self.bundle.layers:
            return self.bundle.provenance(layer)
        return Provenance(
            self.bundle.name,
            self.bundle.graph_sha256,
            self.bundle.recipe.digest(),
            layer,
            precision=self.bundle.precision,
        )

    @property
    def has_deconvnet(self) -> bool:
        """Whether the bundle contains a deconvnet."""
        return DECONV in self.bundle.files

    def deconv_layer(self, name: str) -> DeconvLayer:
        """Return a layer that can be projected.

        Raises
        ------
        FailedPrecondition
            The network has no deconvnet.
        NotFound
            Its deconvnet does not reach this layer. The message names the layers that it reaches.
        """
        known = self._deconv_layers()
        if name not in known:
            raise NotFound(
                f"the deconvnet of model {self.bundle.name!r} has no layer {name[:64]!r}. Choose "
                f"one of {', '.join(known)}",
                name=name[:64],
                reason=Reason.LAYER_NOT_FOUND,
            )
        return known[name]

    def recipe(self, layer: str) -> Recipe:
        """Return how images are prepared for a layer, even if the layer is not served."""
        return self.bundle.recipe_of(layer) if layer in self.bundle.layers else self.bundle.recipe

    def map_size(self, layer: DeconvLayer, px: int) -> tuple[int, int]:
        """Return the rows and columns of a layer's maps for an image with sides of ``px``."""
        if layer.map is None:
            return 1, 1
        if px == self.bundle.recipe.crop_px:
            return layer.map
        (maps,) = self.run((layer.name,), np.zeros((1, 3, px, px), np.float32))
        return maps.shape[2], maps.shape[3]

    def can_project(self, layer: str) -> bool:
        """Tell whether the deconvnet reaches a layer."""
        return self.has_deconvnet and layer in self._deconv_layers()

    def _deconv_layers(self) -> dict[str, DeconvLayer]:
        if not self.has_deconvnet:
            raise FailedPrecondition(
                f"model {self.bundle.name!r} has no deconvnet, because its graph has branches or its bundle is older. "
                "`fc7 explain occlude` works with every network",
                name=self.bundle.name,
                reason=Reason.NO_DECONVNET,
            )
        if self._deconv is None:
            try:
                rows = json.loads(read_metadata(self.bundle.deconv())["layers"])
                self._deconv = {row["name"]: _layer(row) for row in rows}
            except (KeyError, ValueError, TypeError) as error:
                raise DataLoss(
                    f"file {DECONV!r} of bundle {self.bundle.name!r} is malformed: {error!r}",
                    name=DECONV,
                    reason=Reason.BUNDLE_DAMAGED,
                ) from error
        return self._deconv


def check_rule(rule: str) -> str:
    """Return the name of a projection rule; "deconv" for an empty name.

    Raises
    ------
    InvalidArgument
        There is no such rule.
    """
    if rule and rule not in RULES:
        raise InvalidArgument(f"rule must be one of {', '.join(RULES)} (got {rule[:64]!r})", name="rule")
    return rule or RULES[0]


def _layer(row: dict[str, Any]) -> DeconvLayer:
    size = row["map"]
    return DeconvLayer(
        name=str(row["name"]),
        channels=int(row["channels"]),
        map=None if size is None else (int(size[0]), int(size[1])),
        size=int(row["size"]),
        stride=int(row["stride"]),
        offset=int(row["offset"]),
    )
