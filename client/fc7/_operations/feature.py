"""FeatureService: images to features."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fc7._operations.batches import call_with, next_request, split_images, write_images
from fc7._operations.conversion import check_names, check_text, check_views, read_provenance, read_tensor, read_timing
from fc7._operations.steps import Emit, OpenStream, Operation, ReadStream, RunBlocking
from fc7.contract.timing import Timing
from fc7.errors import Aborted, Fc7Error, InvalidArgument
from fc7.features import Features
from fc7.grpc_errors import read_item_error
from fc7.images import ImageLike, InputImage, list_images, read_entries
from fc7.results import Failure, Provenance
from fc7.v1 import feature_pb2 as pb
from fc7.v1.feature_pb2_grpc import FeatureServiceStub

OnError = Literal["raise", "skip"]
OnStreamError = Literal["yield", "raise", "skip"]


def extract(
    images: ImageLike | Iterable[ImageLike],
    layer: str,
    model: str,
    ensemble: Sequence[str],
    views: int,
    on_error: OnError,
    report: Callable[[int], object] | None,
) -> Operation[Features]:
    """Extract batch by batch."""
    if on_error not in ("raise", "skip"):
        raise InvalidArgument(f"on_error must be 'raise' or 'skip' (got {on_error!r})", name="on_error")
    layer, model = check_text(layer, "layer"), check_text(model, "model")
    ensemble, views = check_names(ensemble, "ensemble"), check_views(views)
    gathered, batches = _Gathered(), split_images(images)

    def pack(batch: list[InputImage]) -> pb.ExtractRequest:
        request = pb.ExtractRequest(model=model, layer=layer, views=views, ensemble=ensemble)
        write_images(batch, request.images)
        return request

    while (work := (yield next_request(batches, pack)))[0]:
        response = yield call_with(FeatureServiceStub, "Extract", work)
        failed = yield RunBlocking(partial(gathered.take, work[0], response))
        if failed and on_error == "raise":
            raise failed[0]
        if report:
            report(gathered.n_done)
    features: Features = yield RunBlocking(gathered.features)
    return features


class StreamFacts:
    """What a stream of features has said about itself so far."""

    provenance: Provenance | None = None


def extract_stream(
    images: Iterable[ImageLike],
    layer: str,
    model: str,
    ensemble: Sequence[str],
    views: int,
    on_error: OnStreamError,
    facts: StreamFacts,
) -> Operation[None]:
    """Emit one feature (D,) or error per image, in the order given."""
    if on_error not in get_args(OnStreamError):
        raise InvalidArgument(f"on_error must be 'yield', 'raise' or 'skip' (got {on_error!r})", name="on_error")
    layer, model = check_text(layer, "layer"), check_text(model, "model")
    ensemble, views = check_names(ensemble, "ensemble"), check_views(views)
    under_way: deque[InputImage] = deque()

    def requests() -> Iterator[pb.StreamExtractRequest]:
        for entry in read_entries(list_images(images)):
            under_way.append(entry)
            request = pb.StreamExtractRequest(model=model, layer=layer, views=views, ensemble=ensemble)
            entry.content.write(request.image)
            yield request

    stream = yield OpenStream(FeatureServiceStub, "StreamExtract", requests(), timeout_s=None)
    while (answer := (yield ReadStream(stream))) is not None:
        entry = under_way.popleft()
        if answer.HasField("provenance"):
            facts.provenance = read_provenance(answer.provenance)
        if answer.WhichOneof("result") == "feature":
            yield Emit(read_tensor(answer.feature))
            continue
        error = entry.error or read_item_error(answer.error)
        if on_error == "raise":
            raise _naming_image(error, entry)
        if on_error == "yield":
            yield Emit(error)


@dataclass(slots=True)
class _Gathered:
    """The features of all batches so far."""

    values: list[NDArray[Any]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    timing: Timing = field(default_factory=Timing)
    provenance: Provenance | None = None

    @property
    def n_done(self) -> int:
        return len(self.rows) + len(self.failed)

    def take(self, batch: list[InputImage], response: pb.ExtractResponse) -> list[Fc7Error]:
        """Keep the answer to one batch. Return its failures, ready to be raised."""
        provenance = read_provenance(response.provenance)
        if self.provenance not in (None, provenance):
            raise Aborted(f"the server changed from {self.provenance} to {provenance} during the call. Extract again")
        self.provenance = provenance
        self.values.append(read_tensor(response.features))
        self.timing = self.timing + read_timing(response.timing)
        failed = []
        for entry, result in zip(batch, response.items, strict=True):
            if not result.HasField("error"):
                self.rows.append(entry.index)
                continue
            error = entry.error or read_item_error(result.error)
            self.failed.append(Failure(entry.index, error))
            failed.append(_naming_image(error, entry))
        return failed

    def features(self) -> Features:
        if self.provenance is None:
            raise InvalidArgument("images is empty. Give at least one image", name="images")
        return Features(np.concatenate(self.values), self.provenance, self.rows, self.failed, self.timing)


def _naming_image(error: Fc7Error, entry: InputImage) -> Fc7Error:
    """Return an error whose text names its image, for the end of a whole call."""
    text = error.message if entry.name in error.message else f"{entry.name}: {error.message}"
    named = type(error)(text, name=error.name or entry.name)
    named.index, named.reason = entry.index, error.reason
    return named
