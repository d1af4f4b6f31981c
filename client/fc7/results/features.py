"""What made a feature, and what became of an image without one."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from fc7.errors import Fc7Error


@dataclass(frozen=True, slots=True, repr=False)
class Provenance:
    """Which network and preprocessing made a feature. Features compare only if their digests are equal.

    Attributes
    ----------
    digest : str
        SHA-256 (hex) over all fields below except `model`.
    model : str
        Name of the model.
    graph_sha256 : str
        SHA-256 (hex) of the ONNX graph.
    recipe_sha256 : str
        SHA-256 (hex) of the preprocessing recipe.
    layer : str
        Name of the layer.
    transform : str
        Pooling, whitening or normalising after the layer; "none" if there is none.
    precision : str
        Number format of the computation, for example "fp32".
    """

    digest: str
    model: str
    graph_sha256: str
    recipe_sha256: str
    layer: str
    transform: str
    precision: str

    def to_dict(self) -> dict[str, str]:
        """Return all fields, for JSON."""
        return asdict(self)

    def __repr__(self) -> str:
        return f"Provenance({self.model} {self.layer}, {self.digest[:12]})"


@dataclass(frozen=True, slots=True)
class Failure:
    """An image that was left out.

    Attributes
    ----------
    index : int
        Position of the image in the caller's list.
    error : Fc7Error
        Why it was left out.
    """

    index: int
    error: Fc7Error
