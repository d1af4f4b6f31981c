"""The shipped networks: their layers, and the recipes that make a tensor of a picture."""

from __future__ import annotations

import json
import math
from typing import Any

from fc7_service.bundle.folder import shipped_bundles
from tables.markdown import code, table


def layers(network: str) -> str:
    """Return a row for each layer of a network, from the pictures' side to the classes."""
    manifest, rows = _manifest(network), []
    for name, layer in manifest["layers"].items():
        shape = layer["shape"]
        size = layer.get("recipe", manifest["recipe"])["crop_px"]
        default = ", the default" if name == manifest["default_layer"] else ""
        rows.append(
            (code(name) + default, " x ".join(map(str, shape)), f"{math.prod(shape):,}", str(size), layer["transform"])
        )
    return table(("Layer", "Shape", "Numbers", "Picture, px", "Transform"), rows)


def recipes() -> str:
    """Return a row for each recipe of the shipped networks."""
    rows = []
    for network in shipped_bundles():
        manifest = _manifest(network)
        own = {name: layer["recipe"] for name, layer in manifest["layers"].items() if "recipe" in layer}
        others = ", ".join(code(name) for name in manifest["layers"] if name not in own)
        for names, recipe in [(others, manifest["recipe"]), *((code(name), recipe) for name, recipe in own.items())]:
            numbers = [", ".join(f"{number:g}" for number in recipe[key]) for key in ("mean", "std")]
            sizes = [str(recipe[key]) for key in ("version", "resize_px", "crop_px")]
            rows.append((code(network), names, *sizes, f"{recipe['scale']:.6g}", *numbers))
    columns = ("Network", "Layers", "Version", "Shorter side, px", "Square, px", "Scale", "Mean", "Std")
    return table(columns, rows)


def _manifest(network: str) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((shipped_bundles()[network] / "manifest.json").read_text(encoding="utf-8"))
    return manifest
