"""Provenance: which network and preprocessing made a feature."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from fc7.errors import InvalidArgument

NO_TRANSFORM = "none"


@dataclass(frozen=True, slots=True)
class Provenance:
    """What two features must share to be compared.

    Library versions and the card are left out: a corrected card must not orphan a
    collection.
    """

    model: str  # name on the server that answered; not part of the digest
    graph_sha256: str  # of the ONNX graph that ran, hex
    recipe_sha256: str  # of the preprocessing, hex
    layer: str
    transform: str = NO_TRANSFORM
    precision: str = "fp32"

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over all fields but ``model``."""
        fields = asdict(self)
        del fields["model"]
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_dict(self) -> dict[str, str]:
        """Return all fields and the digest."""
        return {**asdict(self), "digest": self.digest}

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
