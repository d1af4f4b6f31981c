"""Golden files: what bundles hold, and what a wrong decoder would change."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from PIL import Image

from fc7.contract.golden import FILE_TOLERANCE
from fc7.errors import DataLoss
from fc7_models.export.golden_files import draw_golden_files
from fc7_service.bundle.bundle import GOLDEN_FILES, Bundle
from fc7_service.bundle.folder import open_model, shipped_bundles, write_bundle
from fc7_service.bundle.golden import GoldenFile, read_golden, write_golden_files
from fc7_service.features.preprocess import preprocess
from tiny import LAYERS, RECIPE, make_tiny_bundle


def bundle_with(folder: Path, files: list[GoldenFile]) -> Bundle:
    made = make_tiny_bundle(folder)
    write_golden_files(folder, files)
    return write_bundle(folder, name="tiny", network="tiny", layers=LAYERS, recipe=RECIPE, versions=made.versions)


def test_a_bundle_gives_its_golden_files_back_and_may_have_none(tmp_path: Path) -> None:
    files = [GoldenFile(f"{i}.png", bytes([i, 0, 255]), "logits", np.full(3, i, np.float32)) for i in range(3)]
    found = read_golden(bundle_with(tmp_path / "with", files)).files
    assert [(f.name, f.encoded, f.layer, f.values.tolist()) for f in found] == [
        (f.name, f.encoded, f.layer, f.values.tolist()) for f in files
    ]
    assert read_golden(make_tiny_bundle(tmp_path / "without")).files == ()


@pytest.mark.parametrize(("layer", "dim"), [("nope", 3), ("logits", 4)])
def test_values_that_fit_no_layer_are_damage(tmp_path: Path, layer: str, dim: int) -> None:
    bundle = bundle_with(tmp_path / "b", [GoldenFile("a.png", b"a", layer, np.zeros(dim, np.float32))])
    with pytest.raises(DataLoss, match=f"values for layer '{layer}' that do not fit"):
        read_golden(bundle)


@pytest.mark.parametrize("name", list(shipped_bundles()))
def test_golden_files_of_shipped_networks_tell_decoders_apart(name: str) -> None:
    bundle = open_model(name)
    assert GOLDEN_FILES in bundle.files
    session = ort.InferenceSession(bundle.graph(), providers=["CPUExecutionProvider"])
    files = {file.name: file for file in read_golden(bundle).files}
    recipe = bundle.recipe_of(files["photo.jpg"].layer)
    photo, logo, scan = (Image.open(io.BytesIO(files[n].encoded)) for n in ("photo.jpg", "logo.png", "scan.png"))

    def difference(file: str, data: bytes) -> float:
        tensor = preprocess(data, recipe)[np.newaxis]
        (values,) = session.run([files[file].layer], {session.get_inputs()[0].name: tensor})
        return float(np.abs(values[0] - files[file].values).max() / np.abs(files[file].values).max())

    for file, golden in files.items():
        assert difference(file, golden.encoded) < FILE_TOLERANCE / 2
    assert min(photo.size) >= 4 * recipe.resize_px  # so it is decoded at a reduced scale
    for wrong in (photo, photo.transpose(Image.Transpose.ROTATE_90)):
        assert difference("photo.jpg", png(wrong)) > 2 * FILE_TOLERANCE
    assert logo.has_transparency_data
    assert difference("logo.png", png(logo.convert("RGBA").convert("RGB"))) > 2 * FILE_TOLERANCE
    assert difference("scan.png", png(scan.convert("RGB"))) > 2 * FILE_TOLERANCE


def test_golden_files_are_the_same_on_every_machine() -> None:
    drawn = draw_golden_files(RECIPE)
    assert list(drawn) == ["photo.jpg", "logo.png", "scan.png"]
    assert drawn == draw_golden_files(RECIPE)


def png(image: Image.Image) -> bytes:
    """The pixels alone: no EXIF."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(image)).save(buffer, "PNG")
    return buffer.getvalue()
