"""A bundle's graph, cut to what is asked, and the layers that its deconvnet knows."""

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
    """A layer that can be projected, and what its units see."""

    name: str
    channels: int
    map: tuple[int, int] | None  # rows, columns at the recipe's size; None where a unit sees the whole picture
    size: int  # px of a receptive field
    stride: int  # px between two; 0 where each is the whole picture
    offset: int  # first px of the first

    def place(self, unit: int, position: tuple[int, int], value: float, px: int) -> Place:
        """Return a unit at a row and a column of its map in a view of ``px``."""
        (top, bottom), (left, right) = (self._edges(index, px) for index in position)
        return Place(unit, value, *position, box=(left, top, right, bottom))

    def _edges(self, index: int, px: int) -> tuple[int, int]:
        if not self.stride:
            return 0, px
        first = self.offset + index * self.stride
        return max(0, first), min(px, first + self.size)


class Network:
    """One bundle as explanations see it; for one thread.

    Parameters
    ----------
    bundle
        Its graphs are read when they are needed.
    sessions
        Shared by all networks.
    """

    def __init__(self, bundle: Bundle, sessions: SessionCache) -> None:
        self.bundle = bundle
        # Spatial layers, a layer and an axis of theirs, of which the layer was found to be no sum.
        self.not_linear: set[tuple[tuple[str, ...], str, int]] = set()
        self._read: dict[tuple[str, ...], tuple[str, ...]] = {}  # layer and inputs -> those that it reads
        self._sessions = sessions
        self._deconv: dict[str, DeconvLayer] | None = None
        self._sums: dict[str, tuple[str, ...]] | None = None

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
            Their names.
        tensors
            Pictures, float32 (N, 3, H, W).
        given
            Values of other inputs by name.
        inputs
            Those of ``given`` that take the place of what the graph computes.

        Raises
        ------
        FailedPrecondition
            The graph has no such tensor, or an output does not depend on ``inputs``.
        """
        session = self._sessions.get(self.bundle, tuple(outputs), tuple(inputs))
        values = {one.name: (given or {}).get(one.name, tensors) for one in session.get_inputs()}
        found: list[NDArray[Any]] = session.run(list(outputs), values)
        return found

    def reads(self, layer: str, inputs: Sequence[str]) -> tuple[str, ...]:
        """Return those of ``inputs`` that ``layer`` is computed from where all of them are given."""
        key = (layer, *inputs)
        if key not in self._read:
            try:
                needed = {one.name for one in self._sessions.get(self.bundle, (layer,), tuple(inputs)).get_inputs()}
            except FailedPrecondition:
                needed = set()
            self._read[key] = tuple(name for name in inputs if name in needed)
        return self._read[key]

    def sums(self, layer: str) -> tuple[str, ...]:
        """Return the tensors, maps of the same units, in which a layer is linear together; none if the file says none.

        Raises
        ------
        DataLoss
            The file does not say it as an export does.
        """
        if self._sums is None:
            said = read_metadata(self.bundle.graph()).get(SUMS, "{}")
            try:
                self._sums = {str(name): tuple(map(str, tensors)) for name, tensors in json.loads(said).items()}
            except (AttributeError, TypeError, ValueError) as error:
                raise DataLoss(
                    f"bundle {self.bundle.name!r} says {said[:64]!r} of its sums",
                    name=SUMS,
                    reason=Reason.BUNDLE_DAMAGED,
                ) from error
        return self._sums.get(layer, ())

    def provenance(self, layer: str) -> Provenance:
        """Return what makes the activations of a layer, be it one that is not served."""
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
        """Whether the bundle holds one."""
        return DECONV in self.bundle.files

    def deconv_layer(self, name: str) -> DeconvLayer:
        """Return a layer that can be projected.

        Raises
        ------
        FailedPrecondition
            The network has no deconvnet.
        NotFound
            It has, but not of this layer; those that it has are named.
        """
        known = self._deconv_layers()
        if name not in known:
            raise NotFound(
                f"the deconvnet of model {self.bundle.name!r} has no layer {name[:64]!r}: it has {', '.join(known)}",
                name=name[:64],
                reason=Reason.LAYER_NOT_FOUND,
            )
        return known[name]

    def recipe(self, layer: str) -> Recipe:
        """Return how pictures are prepared for a layer, be it one that is not served."""
        return self.bundle.recipe_of(layer) if layer in self.bundle.layers else self.bundle.recipe

    def map_size(self, layer: DeconvLayer, px: int) -> tuple[int, int]:
        """Return rows and columns of a layer's maps in a view of ``px``."""
        if layer.map is None:
            return 1, 1
        if px == self.bundle.recipe.crop_px:
            return layer.map
        (maps,) = self.run((layer.name,), np.zeros((1, 3, px, px), np.float32))
        return maps.shape[2], maps.shape[3]

    def can_project(self, layer: str) -> bool:
        """Tell whether the deconvnet knows a layer."""
        return self.has_deconvnet and layer in self._deconv_layers()

    def _deconv_layers(self) -> dict[str, DeconvLayer]:
        if not self.has_deconvnet:
            raise FailedPrecondition(
                f"model {self.bundle.name!r} has no deconvnet: its graph has branches or its bundle is older; "
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
                    f"{DECONV} of bundle {self.bundle.name!r} is malformed: {error!r}",
                    name=DECONV,
                    reason=Reason.BUNDLE_DAMAGED,
                ) from error
        return self._deconv


def check_rule(rule: str) -> str:
    """Return the rule of a projection; "deconv" for an empty name.

    Raises
    ------
    InvalidArgument
        No such rule.
    """
    if rule and rule not in RULES:
        raise InvalidArgument(f"rule {rule[:64]!r} is none of {', '.join(RULES)}", name="rule")
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
