"""Thousands of bad pictures, one server: each gets its answer, and memory stays bounded. `make test-long` runs this."""

from __future__ import annotations

import random
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from changed_files import FILES, mutate
from fc7.contract.reasons import Reason
from fc7.v1 import MAX_MESSAGE_BYTES, common_pb2, feature_pb2, feature_pb2_grpc
from pictures import encode
from servers import Served, serving

SOURCE = Path(sys.prefix) / "pillow-source"  # the Makefile downloads it
OPTIONS = [("grpc.max_send_message_length", MAX_MESSAGE_BYTES), ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]
REFUSALS = {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"}
GIGABYTE = 10**9


@pytest.fixture
def served(tiny_bundle: Path, tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "data", "--model", str(tiny_bundle), "--threads", "16") as server:
        yield server


def extract(stub: Any, files: list[bytes]) -> list[str]:
    """Return what becomes of each file: OK, or the status and reason of its refusal."""
    request = feature_pb2.ExtractRequest(images=[common_pb2.Image(encoded=file) for file in files])
    answer = stub.Extract(request, timeout=600)
    found = []
    for item in answer.items:
        if item.HasField("error"):
            assert item.error.code in REFUSALS, item.error
            assert item.error.reason in Reason.__members__, item.error
            assert 0 < len(item.error.message) < 2000
        found.append(f"{item.error.code} {item.error.reason}" if item.HasField("error") else "OK")
    assert len(found) == len(files)
    return found


def peak_bytes(served: Served) -> int:
    """Return the most memory that a server ever had."""
    lines = Path(f"/proc/{served.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def stub_of(served: Served) -> Any:
    return feature_pb2_grpc.FeatureServiceStub(grpc.insecure_channel(served.address, OPTIONS))


def test_the_test_pictures_of_pillow(served: Served) -> None:
    """Its authors collect what broke their decoders, and other programs'."""
    archives = list(SOURCE.glob("pillow-*.tar.gz"))
    if not archives:
        pytest.skip("the source package of Pillow is not here: make test-long downloads it")
    stub, before = stub_of(served), peak_bytes(served)
    found: Counter[str] = Counter()
    with tarfile.open(archives[0]) as archive:
        for member in archive:
            if "/Tests/images/" in member.name and member.isfile():
                file = archive.extractfile(member)
                assert file is not None
                found.update(extract(stub, [file.read()]))
    print(sum(found.values()), dict(found))
    assert sum(found.values()) > 1000
    assert found["OK"] > 300
    assert peak_bytes(served) - before < GIGABYTE
    assert served.process.poll() is None


def test_ten_thousand_changed_files(served: Served) -> None:
    rng, stub, before = random.Random(5), stub_of(served), peak_bytes(served)
    found: Counter[str] = Counter()
    for _ in range(50):
        found.update(extract(stub, [mutate(rng.choice(FILES), rng) for _ in range(200)]))
    print(dict(found))
    assert sum(found.values()) == 10_000
    assert 1000 < found["OK"] < 9000
    assert peak_bytes(served) - before < GIGABYTE
    assert extract(stub, FILES) == ["OK"] * len(FILES)


def hostile() -> list[bytes]:
    """Small files of many pixels, as many as fc7 allows, in the formats that take most memory."""
    side = 7000
    flat = Image.new("RGB", (side, side), (200, 100, 50))
    clear, deep = flat.convert("RGBA"), Image.fromarray(np.full((side, side), 30_000, np.uint16))
    return [
        encode(clear, "PNG"),
        encode(deep, "PNG"),
        encode(flat, "WEBP", lossless=True, method=0),
        encode(flat, "TIFF", compression="tiff_adobe_deflate"),
        encode(deep, "TIFF", compression="tiff_adobe_deflate"),
        encode(flat.quantize(4), "GIF"),
        encode(flat, "JPEG", progressive=True),
        encode(flat, "AVIF", speed=10),
    ]


def test_sixteen_hostile_pictures_at_once(served: Served) -> None:
    """They come in one call, and sixteen threads would decode them all at once."""
    files, stub = hostile(), stub_of(served)
    assert sum(map(len, files)) < 5 * 2**20
    extract(stub, FILES)
    before = peak_bytes(served)
    assert extract(stub, files * 2) == ["OK"] * 16
    print(f"{(peak_bytes(served) - before) / 10**6:.0f} MB")
    assert peak_bytes(served) - before < GIGABYTE
