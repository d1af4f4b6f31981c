"""Provenance: which network and preprocessing made a feature."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache

from fc7.errors import InvalidArgument

NO_TRANSFORM = "none"


@dataclass(frozen=True, slots=True)
class Provenance:
    """What two features must have in common to be compared.

    Library versions and the model card are not part of it: a corrected card must not orphan a collection.
    """

    model: str  # name on the server that answered; not part of the digest
    graph_sha256: str  # of the ONNX graph that ran, hex
    recipe_sha256: str  # of the preprocessing, hex
    layer: str
    transform: str = NO_TRANSFORM
    precision: str = "fp32"

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over all fields except ``model``."""
        return _digest(self)

    def to_dict(self) -> dict[str, str]:
        """Return all fields and the digest."""
        return {**asdict(self), "digest": self.digest}

    def over_views(self, n_views: int) -> Provenance:
        """Return the provenance of the mean of ``n_views`` views; one view changes nothing."""
        if n_views == 1:
            return self
        mean = f"mean of {n_views} views"
        return replace(self, transform=mean if self.transform == NO_TRANSFORM else f"{self.transform}, {mean}")

    @classmethod
    def of_ensemble(cls, members: Sequence[Provenance]) -> Provenance:
        """Return the provenance of L2-normalised features, joined: in each field the members' values with "+"."""
        fields = [asdict(member) for member in members]
        joined = {name: "+".join(values[name] for values in fields) for name in fields[0]}
        return cls(**joined | {"transform": f"{joined['transform']}, normalised and joined"})

    @classmethod
    def from_dict(cls, values: dict[str, str]) -> Provenance:
        """Read what ``to_dict`` wrote.

        Raises
        ------
        InvalidArgument
            A field is missing, or the digest is not that of the fields.
        """
        fields = dict(values)
        digest = fields.pop("digest", None)
        try:
            provenance = cls(**fields)
        except TypeError as error:
            raise InvalidArgument(f"provenance is malformed: {error}", name="provenance") from error
        if digest is not None and digest != provenance.digest:
            raise InvalidArgument("provenance does not match its digest", name="provenance")
        return provenance


@lru_cache  # every call asks for the digests of few provenances
def _digest(provenance: Provenance) -> str:
    fields = asdict(provenance)
    del fields["model"]
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
