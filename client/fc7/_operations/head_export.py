"""HeadService: take a head away, with its network."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from fc7._operations import head, model
from fc7._operations.conversion import check_text
from fc7._operations.steps import OpenStream, Operation, ReadStream, RunBlocking
from fc7.errors import Aborted, DataLoss
from fc7.exported_head import check_absent, golden_files, write_exported
from fc7.results import Head
from fc7.v1 import head_pb2 as pb
from fc7.v1.head_pb2_grpc import HeadServiceStub as Stub

_EXPORT_S = 3600.0


def export(name: str, folder: Path, version: int) -> Operation[Head]:
    """Write the folder of an exported head."""
    yield RunBlocking(lambda: check_absent(folder))
    request = pb.ExportHeadRequest(name=check_text(name, "name"), version=head.check_version(version))
    stream = yield OpenStream(Stub, "ExportHead", request, _EXPORT_S)
    found: pb.ExportedHead | None = None
    parts: list[bytes] = []
    while (answer := (yield ReadStream(stream))) is not None:
        if answer.WhichOneof("part") == "head":
            found = answer.head
        else:
            parts.append(answer.model)
    data = b"".join(parts)
    if found is None:
        raise Aborted("the server ended the export before it began. Export again")
    if hashlib.sha256(data).hexdigest() != found.model_sha256:
        raise DataLoss("the file changed on its way: its checksum is wrong. Export again", name=name)
    exported = head.read_head(found.head)
    reference = yield from model.get_golden(exported.provenance.model)
    pixels = reference.own_pixels.get(exported.provenance.layer, reference.pixels)
    pictures: dict[str, bytes] = yield RunBlocking(lambda: golden_files(pixels))
    answers = yield from head.classify(
        list(pictures.values()), name, "", (), 1, len(exported.classes), None, exported.version
    )
    golden = {
        picture: [dict(answer.top)[label] for label in exported.classes]
        for picture, answer in zip(pictures, answers, strict=True)
    }
    facts = {
        "name": exported.name,
        "version": exported.version,
        "created": exported.created,
        "weights_sha256": exported.weights_sha256,
        "provenance": exported.provenance.to_dict(),
        "accuracy": exported.accuracy,
        "held_out": exported.held_out,
        "model_sha256": found.model_sha256,
    }
    recipe = json.loads(found.recipe_json)
    yield RunBlocking(lambda: write_exported(folder, data, recipe, exported.classes, facts, pictures, golden))
    return exported
