"""A bundle whose files match their hashes but say what cannot be: refused by name, before it costs anything."""

from __future__ import annotations

import hashlib
import io
import json
import re
import resource
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from fc7.errors import DataLoss
from fc7.v1 import model_pb2, model_pb2_grpc
from fc7_service.bundle.folder import MANIFEST, open_bundle
from fc7_service.bundle.golden import read_golden
from fc7_service.features.session import Session
from servers import serving


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_bundle, tmp_path / "lying")


def rewrite(bundle: Path, change: Callable[[str], str]) -> None:
    """Change the text of the manifest."""
    before = (bundle / MANIFEST).read_text()
    (bundle / MANIFEST).write_text(change(before))
    assert (bundle / MANIFEST).read_text() != before


def give(bundle: Path, file: str, data: bytes) -> None:
    """Replace a file, and its hash in the manifest."""
    (bundle / file).write_bytes(data)
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["files"][file] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    (bundle / MANIFEST).write_text(json.dumps(manifest))


def recipe(**values: Any) -> Callable[[str], str]:
    def change(text: str) -> str:
        manifest = json.loads(text)
        manifest["recipe"] |= values
        return json.dumps(manifest)

    return change


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (recipe(scale=1e300), "differ by at least 1e-6 and stay below 1e6"),
        (recipe(scale=1e-300), "differ by at least 1e-6"),
        (recipe(std=[1e-320, 1, 1]), "stay below 1e6"),
        (recipe(std=[0.2, 1e300, 0.2]), "differ by at least 1e-6"),
        (recipe(mean=[0, 0, 1e200]), "stay below 1e6"),
        (recipe(resize_px=4096, crop_px=4096), "<= 1024.* .got crop_px 4096"),
        (lambda text: re.sub(r'"scale": [^,]+', '"scale": 1e400', text), "is not a finite number"),
        (lambda text: re.sub(r'"format": 1', '"format": 1e400', text), "infinity"),
        (
            lambda text: re.sub(r'"shape": \[\s*8\s*\]', f'"shape": [{2**62}, {2**62}]', text),
            "layer .*fc7.* has the impossible shape",
        ),
        (lambda text: re.sub(r'"shape": \[\s*8\s*\]', '"shape": [1e400]', text), "infinity"),
        (lambda text: re.sub(r'"size": \d+', '"size": 1e400', text, count=1), "infinity"),
        (lambda text: text.replace('"layers": {', '"layers": {"fc7": {"shape": [9]},', 1), "'fc7'.*'fc7'"),
        (lambda text: text.replace('"fc6":', '"fc7":', 1), "'fc7'.*'fc7'"),
    ],
)
def test_a_manifest_that_says_what_cannot_be(bundle: Path, change: Callable[[str], str], what: str) -> None:
    rewrite(bundle, change)
    with pytest.raises(DataLoss, match=f"(?s)lying.*{what}"):
        open_bundle(bundle)


def test_golden_vectors_that_unpack_to_gigabytes_are_not_unpacked(bundle: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("pixels.npy", "w") as member:
            np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": (2**28,)})
            for _ in range(256):
                member.write(bytes(2**20))
    give(bundle, "golden.npz", packed.getvalue())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        DataLoss, match=r"file 'golden.npz' of bundle 'tiny' is malformed: it would unpack to 268\d+ bytes"
    ):
        read_golden(open_bundle(bundle))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # kB


def test_a_recipe_that_the_graph_does_not_take_is_refused_before_a_picture_is_made(bundle: Path) -> None:
    opened = open_bundle(bundle)
    with pytest.raises(DataLoss, match=r"'tiny' takes .*16, 16.*gives \(N, 3, 900, 900\)"):
        Session(replace(opened, recipe=replace(opened.recipe, resize_px=900, crop_px=900)), device="cpu", threads=1)


@pytest.mark.parametrize("harm", ["flipped", "no ONNX file"])
def test_verify_looks_at_every_file(bundle: Path, tmp_path: Path, harm: str) -> None:
    give(bundle, "deconv.onnx", b"\xff" * 100)
    if harm == "flipped":
        (bundle / "deconv.onnx").write_bytes(b"\xfe" * 100)
    with serving(tmp_path / "data", "--model", str(bundle)) as served:
        with grpc.insecure_channel(served.address) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                model_pb2_grpc.ModelServiceStub(channel).GetGolden(model_pb2.GetGoldenRequest(), timeout=60)
    assert caught.value.code() is grpc.StatusCode.DATA_LOSS
    assert "deconv.onnx" in caught.value.details()
