"""HeadService: train heads, publish them, classify with them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.contract.timing import Timing
from fc7.errors import Fc7Error, InvalidArgument
from fc7.v1 import head_pb2 as pb
from fc7.v1 import head_pb2_grpc
from fc7_service.bundle.provenance import Provenance
from fc7_service.collections.registry import Collections
from fc7_service.features.extractor import Extractor
from fc7_service.features.image_features import ImageFeatures, extract_views
from fc7_service.heads.head_version import HeadVersion
from fc7_service.heads.measures import warnings
from fc7_service.heads.onnx_head import join_head
from fc7_service.heads.registry import Heads
from fc7_service.heads.shadow import Seen, Shadows
from fc7_service.rpc.classify import (
    ImageClassifier,
    add_further_answers,
    average_probabilities,
    check_head_options,
    find_classifiers,
    find_further_heads,
    find_unknown,
    write_result,
)
from fc7_service.rpc.classify_items import ItemClassifier
from fc7_service.rpc.compare_heads import compare_heads
from fc7_service.rpc.head_report import (
    ROWS_PER_MESSAGE,
    compare_with_published,
    write_measures,
    write_report,
    write_rows,
    write_unknown_rule,
)
from fc7_service.rpc.head_weights import get_weights, import_weights
from fc7_service.rpc.messages import (
    content_sha256,
    read_image,
    read_views,
    write_provenance,
    write_timing,
)
from fc7_service.rpc.request_models import model_of_provenance
from fc7_service.rpc.sample_items import sample_items
from fc7_service.rpc.shadow_messages import write_shadow
from fc7_service.rpc.suggest_items import suggest_items
from fc7_service.rpc.train_head import Trainer
from fc7_service.telemetry.record import Record, ignore

_DEFAULT_TOP = 5
_PART_BYTES = 2**20  # of an exported file per message
_LONGEST_FIELD = 256


class HeadServicer(head_pb2_grpc.HeadServiceServicer):
    """Heads, and what they say about images."""

    def __init__(
        self,
        heads: Heads,
        shadows: Shadows,
        extractor: Extractor,
        collections: Collections,
        record: Record = ignore,
    ) -> None:
        self._heads, self._shadows, self._extractor, self._record = heads, shadows, extractor, record
        self._collections = collections
        self._trainer = Trainer(heads, extractor, collections)
        self._item_classifier = ItemClassifier(heads, collections)

    async def TrainHead(  # noqa: N802
        self, requests: AsyncIterator[pb.TrainHeadRequest], context: Any
    ) -> AsyncIterator[pb.TrainHeadResponse]:
        """Train the next version of a head."""
        first = await anext(aiter(requests), None)
        if first is None or first.WhichOneof("part") != "plan":
            raise InvalidArgument("the first message of TrainHead must be the plan", name="plan")
        async for step in self._trainer.train(first.plan, requests):
            if isinstance(step, HeadVersion):
                self._record("fc7_fit_seconds", step.seconds)
                yield pb.TrainHeadResponse(head=await asyncio.to_thread(self._write_head, step))
            else:
                yield pb.TrainHeadResponse(progress=step)

    async def PublishHead(self, request: pb.PublishHeadRequest, context: Any) -> pb.PublishHeadResponse:  # noqa: N802
        """Make a version the one that Classify uses."""
        head = await asyncio.to_thread(
            self._heads.publish, request.name, request.version, refuses_unknown=request.refuse_unknown
        )
        return pb.PublishHeadResponse(head=await asyncio.to_thread(self._write_head, head))

    async def GetHead(self, request: pb.GetHeadRequest, context: Any) -> pb.GetHeadResponse:  # noqa: N802
        """Return one version of a head."""
        head = await asyncio.to_thread(self._heads.get, request.name, request.version)
        await asyncio.to_thread(self._heads.check_published, request.name)
        return pb.GetHeadResponse(head=await asyncio.to_thread(self._write_head, head))

    async def GetHeadReport(  # noqa: N802
        self, request: pb.GetHeadReportRequest, context: Any
    ) -> AsyncIterator[pb.GetHeadReportResponse]:
        """Return what is known about a version."""
        head, judgement = await asyncio.to_thread(self._heads.judgement, request.name, request.version)
        facts = await asyncio.to_thread(self._write_head, head)
        other = await asyncio.to_thread(compare_with_published, self._heads, head, judgement)
        yield pb.GetHeadReportResponse(report=write_report(facts, judgement, other))
        for first in range(0, len(judgement.ids), ROWS_PER_MESSAGE):
            rows = await asyncio.to_thread(write_rows, judgement, first)
            yield pb.GetHeadReportResponse(rows=rows)

    async def ExportHead(  # noqa: N802
        self, request: pb.ExportHeadRequest, context: Any
    ) -> AsyncIterator[pb.ExportHeadResponse]:
        """Return a version and its network as one ONNX file."""
        head = await asyncio.to_thread(self._heads.get, request.name, request.version)
        classifier = await asyncio.to_thread(self._heads.classifier, head.name, head.version)
        model = model_of_provenance(self._extractor, head.provenance, f"head {head.name!r}")
        bundle, layer = self._extractor.models.bundle(model), head.provenance.layer
        data = await asyncio.to_thread(lambda: join_head(bundle.graph(), layer, classifier.softmax))
        digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
        facts = await asyncio.to_thread(self._write_head, head)
        recipe = json.dumps(bundle.recipe_of(layer).to_dict())
        yield pb.ExportHeadResponse(head=pb.ExportedHead(head=facts, recipe_json=recipe, model_sha256=digest))
        for first in range(0, len(data), _PART_BYTES):
            yield pb.ExportHeadResponse(model=data[first : first + _PART_BYTES])

    async def ListHeads(self, request: pb.ListHeadsRequest, context: Any) -> pb.ListHeadsResponse:  # noqa: N802
        """List the newest version of every head, or all versions."""
        heads = await asyncio.to_thread(self._heads.list, all_versions=request.all_versions)
        facts = await asyncio.to_thread(lambda: [self._write_head(head) for head in heads])  # each reads a file
        return pb.ListHeadsResponse(heads=facts)

    async def DeleteHead(self, request: pb.DeleteHeadRequest, context: Any) -> pb.DeleteHeadResponse:  # noqa: N802
        """Delete a head or one version of it."""
        if request.all_versions == request.HasField("version") or (request.HasField("version") and request.version < 1):
            raise InvalidArgument(
                f"name the version of head {request.name[:64]!r} to delete, at least 1, or set all_versions",
                name="version",
            )
        await asyncio.to_thread(self._heads.delete, request.name, request.version)
        await asyncio.to_thread(self._shadows.forget, request.name, request.version)
        return pb.DeleteHeadResponse()

    async def Classify(self, request: pb.ClassifyRequest, context: Any) -> pb.ClassifyResponse:  # noqa: N802
        """Classify images with a published head, or with the network's own classes."""
        if request.top < 0:
            raise InvalidArgument(f"top must be at least 1, or 0 for {_DEFAULT_TOP} (got {request.top})", name="top")
        if request.head_version < 0 or (request.head_version and not request.head):
            raise InvalidArgument(
                "head_version must be at least 1, with a head, or 0 for the published one "
                f"(got {request.head_version} with head {request.head[:64]!r})",
                name="head_version",
            )
        check_head_options(request)
        n_views = read_views(request.views)
        classifiers = await find_classifiers(request, self._extractor, self._heads)
        further = await find_further_heads(request, self._extractor, self._heads)
        images = [read_image(image) for image in request.images]
        found = [await extract_views(self._extractor, images, c.model, c.layer, n_views) for c in classifiers]
        rows = await asyncio.to_thread(average_probabilities, classifiers, found)
        unknown = await asyncio.to_thread(find_unknown, classifiers[0], found[0])
        top = request.top or _DEFAULT_TOP
        results = [
            write_result(row, classifiers[0], top, is_unknown, request.coverage)
            for row, is_unknown in zip(rows, unknown, strict=True)
        ]
        passes = {(c.model, c.layer): one for c, one in zip(classifiers, found, strict=True)}
        extra = []
        for classifier in further:
            place = classifier.model, classifier.layer
            if place not in passes:
                passes[place] = await extract_views(self._extractor, images, *place, n_views)
                extra.append(passes[place])
            await asyncio.to_thread(add_further_answers, results, classifier, passes[place], top)
        if request.head and not request.head_version:
            self._observe(classifiers[0], request, found[0], rows)
        provenances = [one.provenance for one in found]
        return pb.ClassifyResponse(
            results=results,
            provenance=write_provenance(Provenance.of_ensemble(provenances) if request.ensemble else provenances[0]),
            head_version=classifiers[0].version,
            timing=write_timing(sum((one.timing for one in [*found, *extra]), Timing())),
        )

    def _observe(
        self,
        classifier: ImageClassifier,
        request: pb.ClassifyRequest,
        found: ImageFeatures,
        rows: list[NDArray[np.float32] | Fc7Error],
    ) -> None:
        """Show the pictures of a live call, and the answers to them, to the shadow of the head."""
        if classifier.head is None:
            return
        seen = [
            Seen(partial(content_sha256, image), views, row)
            for image, views, row in zip(request.images, found.rows, rows, strict=True)
            if not isinstance(views, Fc7Error) and not isinstance(row, Fc7Error)
        ]
        self._shadows.observe(classifier.head, seen)

    async def ClassifyItems(  # noqa: N802
        self, request: pb.ClassifyItemsRequest, context: Any
    ) -> AsyncIterator[pb.ClassifyItemsResponse]:
        """Classify the items of a collection."""
        async for part in self._item_classifier.classify(request):
            yield part

    async def WriteClasses(  # noqa: N802
        self, request: pb.WriteClassesRequest, context: Any
    ) -> AsyncIterator[pb.WriteClassesResponse]:
        """Classify the items of a collection, and write the classes to their payloads."""
        if not request.field or len(request.field) > _LONGEST_FIELD:
            raise InvalidArgument(
                f"field must have 1 to {_LONGEST_FIELD} characters (got {request.field[:32]!r})", name="field"
            )
        async for part in self._item_classifier.classify(request.items, request.field):
            yield pb.WriteClassesResponse(items=part.items, head_version=part.head_version, filtered=part.filtered)

    async def RankItems(self, request: pb.RankItemsRequest, context: Any) -> pb.RankItemsResponse:  # noqa: N802
        """Return the items that are most probably of a class."""
        return await self._item_classifier.rank(request)

    async def GetHeadWeights(  # noqa: N802
        self, request: pb.GetHeadWeightsRequest, context: Any
    ) -> pb.GetHeadWeightsResponse:
        """Return the weights of a version."""
        return await asyncio.to_thread(get_weights, request, self._heads)

    async def ImportHead(self, request: pb.ImportHeadRequest, context: Any) -> pb.ImportHeadResponse:  # noqa: N802
        """Store a softmax layer as the next version of a head."""
        head = await asyncio.to_thread(import_weights, request, self._heads, self._extractor)
        return pb.ImportHeadResponse(head=await asyncio.to_thread(self._write_head, head))

    async def CompareHeads(self, request: pb.CompareHeadsRequest, context: Any) -> pb.CompareHeadsResponse:  # noqa: N802
        """Compare two heads on the labelled items of a collection."""
        return await asyncio.to_thread(compare_heads, request, self._heads, self._collections)

    async def SetShadow(self, request: pb.SetShadowRequest, context: Any) -> pb.SetShadowResponse:  # noqa: N802
        """Put a version into the shadow, or end that."""
        if request.version < 0:
            raise InvalidArgument(f"version must be at least 1, or 0 to end (got {request.version})", name="version")
        shadow = await asyncio.to_thread(self._shadows.set, request.name, request.version, request.share)
        return pb.SetShadowResponse(shadow=write_shadow(shadow))

    async def GetShadow(self, request: pb.GetShadowRequest, context: Any) -> pb.GetShadowResponse:  # noqa: N802
        """Return the shadow of a head."""
        return pb.GetShadowResponse(shadow=write_shadow(await asyncio.to_thread(self._shadows.get, request.name)))

    async def SampleItems(self, request: pb.SampleItemsRequest, context: Any) -> pb.SampleItemsResponse:  # noqa: N802
        """Draw a sample of the items of a collection."""
        return await asyncio.to_thread(sample_items, request, self._heads, self._collections)

    async def SuggestItems(self, request: pb.SuggestItemsRequest, context: Any) -> pb.SuggestItemsResponse:  # noqa: N802
        """Say which items of a collection to label next."""
        with await self._collections.use_soon(request.collection) as collection:
            pools = self._collections.pools
            return await pools.job(collection.name, suggest_items, request, self._heads, collection)

    def _write_head(self, head: HeadVersion) -> pb.Head:
        return pb.Head(
            name=head.name,
            version=head.version,
            published_version=self._heads.published(head.name),
            provenance=write_provenance(head.provenance),
            classes=head.classes,
            count=head.count,
            accuracy=head.accuracy,
            held_out=head.held_out,
            method=head.method,
            seconds=head.seconds,
            weights_sha256=head.weights_sha256,
            created=head.created,
            parent_version=head.parent_version,
            majority_accuracy=head.majority_accuracy,
            measures=None if head.measures is None else write_measures(head.measures),
            warnings=[] if head.measures is None else warnings(head.measures),
            source=head.source,
            unknown=None if head.unknown is None else write_unknown_rule(head.unknown),
            refuses_unknown=self._heads.refuses_unknown(head.name),
        )
