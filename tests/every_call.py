"""Makes one call of every RPC that the contract has: `python every_call.py TOKENLESS_ADDRESS`, or `--data FOLDER`."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

import fc7.v1
from fc7.endpoint import Endpoint
from fc7.local_server import LocalServer
from fc7.v1 import admin_pb2, collection_pb2, common_pb2, explain_pb2, feature_pb2, head_pb2, model_pb2
from fc7_service.bundle.folder import open_model
from servers import WAIT_S, jpeg

LABELS = ("light", "dark")


def requests() -> dict[str, list[Message]]:
    """Requests by method, in an order in which each call succeeds."""
    pictures = [common_pb2.Image(encoded=jpeg(seed)) for seed in range(8)]
    items = [
        collection_pb2.NewItem(id=str(i), image=image, payload_json=f'{{"label": "{LABELS[i % 2]}"}}')
        for i, image in enumerate(pictures)
    ]
    labels = [LABELS[i % 2] for i in range(len(pictures))]
    in_c, h = {"collection": "c"}, {"head": "h"}
    return {
        "FeatureService.Extract": [feature_pb2.ExtractRequest(images=pictures)],
        "FeatureService.StreamExtract": [feature_pb2.StreamExtractRequest(image=image) for image in pictures],
        "ModelService.ListModels": [model_pb2.ListModelsRequest()],
        "ModelService.GetModel": [model_pb2.GetModelRequest()],
        "ModelService.GetGolden": [model_pb2.GetGoldenRequest()],
        "CollectionService.CreateCollection": [collection_pb2.CreateCollectionRequest(name="c", layer="fc7")],
        "CollectionService.GetCollection": [collection_pb2.GetCollectionRequest(name="c")],
        "CollectionService.ListCollections": [collection_pb2.ListCollectionsRequest()],
        "CollectionService.UpsertItems": [collection_pb2.UpsertItemsRequest(items=items, **in_c)],
        "CollectionService.GetItems": [collection_pb2.GetItemsRequest(ids=["1"], **in_c)],
        "CollectionService.ListItems": [collection_pb2.ListItemsRequest(**in_c)],
        "CollectionService.CountItems": [collection_pb2.CountItemsRequest(**in_c)],
        "CollectionService.UpdatePayloads": [
            collection_pb2.UpdatePayloadsRequest(
                updates=[
                    collection_pb2.PayloadUpdate(id="1", change=collection_pb2.PayloadChange(set_json='{"stars": 5}'))
                ],
                **in_c,
            )
        ],
        "CollectionService.FindDuplicates": [collection_pb2.FindDuplicatesRequest(min_score=0.5, **in_c)],
        "CollectionService.MapItems": [collection_pb2.MapItemsRequest(field="label", **in_c)],
        "CollectionService.CountValues": [collection_pb2.CountValuesRequest(fields=["label"], **in_c)],
        "CollectionService.AddLabels": [
            collection_pb2.AddLabelsRequest(labels=[collection_pb2.Label(id="1", label="dark", by="me")], **in_c)
        ],
        "CollectionService.ListLabels": [collection_pb2.ListLabelsRequest(**in_c)],
        "CollectionService.UndoLabels": [
            collection_pb2.UndoLabelsRequest(labels=[collection_pb2.LabelToUndo(id="1")], **in_c)
        ],
        "CollectionService.TuneCollection": [collection_pb2.TuneCollectionRequest(name="c", recall=0.9)],
        "CollectionService.GetThreshold": [collection_pb2.GetThresholdRequest(false_matches=1, **in_c)],
        "CollectionService.QueryItems": [
            collection_pb2.QueryItemsRequest(queries=[collection_pb2.Query(image=pictures[0])], k=3, **in_c)
        ],
        "HeadService.TrainHead": [
            head_pb2.TrainHeadRequest(plan=head_pb2.HeadPlan(name="h", layer="fc7")),
            head_pb2.TrainHeadRequest(images=head_pb2.LabelledImages(images=pictures, labels=labels)),
        ],
        "HeadService.PublishHead": [head_pb2.PublishHeadRequest(name="h")],
        "HeadService.GetHead": [head_pb2.GetHeadRequest(name="h")],
        "HeadService.GetHeadReport": [head_pb2.GetHeadReportRequest(name="h")],
        "HeadService.ExportHead": [head_pb2.ExportHeadRequest(name="h")],
        "HeadService.GetHeadWeights": [head_pb2.GetHeadWeightsRequest(name="h")],
        "HeadService.ImportHead": [head_pb2.ImportHeadRequest(name="imported", weights=weights())],
        "HeadService.CompareHeads": [
            head_pb2.CompareHeadsRequest(first=head_pb2.HeadName(name="h"), second=head_pb2.HeadName(name="h"), **in_c)
        ],
        "HeadService.SetShadow": [head_pb2.SetShadowRequest(name="h")],
        "HeadService.GetShadow": [head_pb2.GetShadowRequest(name="h")],
        "HeadService.SampleItems": [
            head_pb2.SampleItemsRequest(head=head_pb2.HeadName(name="h"), label=LABELS[0], n=10, **in_c)
        ],
        "HeadService.SuggestItems": [head_pb2.SuggestItemsRequest(n=2, **in_c, **h)],
        "HeadService.ListHeads": [head_pb2.ListHeadsRequest()],
        "HeadService.Classify": [head_pb2.ClassifyRequest(images=pictures, **h)],
        "HeadService.ClassifyItems": [head_pb2.ClassifyItemsRequest(**in_c, **h)],
        "HeadService.WriteClasses": [
            head_pb2.WriteClassesRequest(items=head_pb2.ClassifyItemsRequest(**in_c, **h), field="class")
        ],
        "HeadService.RankItems": [head_pb2.RankItemsRequest(label=LABELS[0], k=2, **in_c, **h)],
        "ExplainService.ProjectUnit": [explain_pb2.ProjectUnitRequest(layer="conv5", image=pictures[0], strongest=1)],
        "ExplainService.TopUnits": [
            explain_pb2.TopUnitsRequest(
                plan=explain_pb2.TopPlan(layer="conv5", units=[0], digests=sha256(pictures[0].encoded).digest())
            ),
            explain_pb2.TopUnitsRequest(images=explain_pb2.TopImages(images=pictures[:1])),
        ],
        "ExplainService.ExplainMatch": [
            explain_pb2.ExplainMatchRequest(layer="fc7", query=pictures[0], neighbour=pictures[1], strongest=1)
        ],
        "ExplainService.ExplainClass": [explain_pb2.ExplainClassRequest(image=pictures[0], strongest=1, **h)],
        "ExplainService.Occlude": [explain_pb2.OccludeRequest(image=pictures[0], grid=4, **h)],
        "AdminService.GetServerInfo": [admin_pb2.GetServerInfoRequest()],
        "ModelService.LoadModel": [model_pb2.LoadModelRequest(bundle="zfnet-64")],
        "ModelService.ReloadModel": [model_pb2.ReloadModelRequest()],
        "ModelService.UnloadModel": [model_pb2.UnloadModelRequest(name="zfnet-64")],
        "HeadService.DeleteHead": [head_pb2.DeleteHeadRequest(name="h", all_versions=True)],
        "CollectionService.DeleteItems": [collection_pb2.DeleteItemsRequest(ids=["1"], **in_c)],
        "CollectionService.DeleteCollection": [collection_pb2.DeleteCollectionRequest(name="c")],
    }


def weights() -> head_pb2.HeadWeights:
    """A softmax layer on the features of the default network."""
    bundle = open_model("alexnet-64")
    dim = bundle.layers["fc7"].dim
    return head_pb2.HeadWeights(
        provenance=common_pb2.Provenance(**bundle.provenance("fc7").to_dict()),
        classes=LABELS,
        weights=common_pb2.Tensor(dtype="float32", shape=(dim, 2), data=bytes(8 * dim)),
        bias=common_pb2.Tensor(dtype="float32", shape=(2,), data=bytes(8)),
    )


def methods() -> dict[str, MethodDescriptor]:
    """Every method of the contract by "Service.Method"."""
    files = [importlib.import_module(f"fc7.v1.{m.name}") for m in pkgutil.iter_modules(fc7.v1.__path__)]
    services = [s for file in files if hasattr(file, "DESCRIPTOR") for s in file.DESCRIPTOR.services_by_name.values()]
    return {f"{service.name}.{method.name}": method for service in services for method in service.methods}


def call(channel: grpc.Channel, method: MethodDescriptor, sent: list[Message], metadata: Any) -> list[Message]:
    """Return all answers of one call."""
    kinds = {False: "unary", True: "stream"}
    open_call = getattr(channel, f"{kinds[method.client_streaming]}_{kinds[method.server_streaming]}")
    start = open_call(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    answer = start(iter(sent) if method.client_streaming else sent[0], metadata=metadata, timeout=WAIT_S)
    return list(answer) if method.server_streaming else [answer]


def call_all(target: Endpoint) -> Iterator[tuple[str, list[Message]]]:
    """Yield each method's name and what it answered."""
    known, wanted = methods(), requests()
    if known.keys() != wanted.keys():
        raise SystemExit(f"tests/every_call.py must call what the contract has: {known.keys() ^ wanted.keys()}")
    with target.open() as channel:
        for name, sent in wanted.items():
            yield name, call(channel, known[name], sent, target.metadata)


def main(words: list[str]) -> None:
    """Call all; print one name a line."""
    local = LocalServer(Path(words[1]), (), "cpu") if words[0] == "--data" else None
    for name, _ in call_all(local.reach() if local else Endpoint(words[0])):
        print(name, flush=True)
    if "--wait" in words:
        sys.stdin.readline()
    if local:
        local.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
