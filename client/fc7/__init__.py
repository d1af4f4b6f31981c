"""The Python client of fc7: pictures to features, neighbours and labels.

    import fc7

    client = fc7.connect()                        # this machine; or fc7.connect("gpu-box:50051")
    features = client.extract(["a.jpg", "b.jpg"])

Importing fc7 is fast: each name loads its module when it is first used (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fc7._connect import connect
    from fc7.async_client import AsyncClient
    from fc7.async_collection import AsyncCollection
    from fc7.client import Client
    from fc7.collection import Collection
    from fc7.contract.timing import Timing
    from fc7.errors import (
        Aborted,
        AlreadyExists,
        DataLoss,
        DeadlineExceeded,
        FailedPrecondition,
        Fc7Error,
        ImageDecodeError,
        InvalidArgument,
        NotFound,
        PermissionDenied,
        ResourceExhausted,
        Unauthenticated,
        Unavailable,
    )
    from fc7.explain import AsyncExplain, Explain
    from fc7.explanations import (
        ClassReason,
        Match,
        MatchSide,
        Occlusion,
        Place,
        Projection,
        Projections,
        TopImage,
        TopUnits,
        View,
    )
    from fc7.feature_stream import AsyncFeatureStream, FeatureStream
    from fc7.features import Features
    from fc7.filters import F, Filter
    from fc7.head_report import CurvePoint, HeadComparison, HeadReport, JudgedRow, NearDuplicate, ReliabilityBin
    from fc7.head_trials import ComparedHeads, DifferingAnswer, ItemSample, Shadow, ShadowDifference, Stratum
    from fc7.head_weights import HeadWeights
    from fc7.images import ImageLike
    from fc7.measures import Estimate, HeadMeasures, UnknownRule, UnknownScore
    from fc7.results import (
        Added,
        Classification,
        ClassifiedItem,
        DuplicateGroup,
        Facet,
        Failure,
        Golden,
        GoldenFile,
        Head,
        Item,
        ItemMap,
        Label,
        Labelled,
        LabelsWritten,
        Layer,
        Model,
        Provenance,
        Recall,
        ReloadedModel,
        Removed,
        ServerInfo,
        Suggestion,
        Updated,
    )
    from fc7.searches import Example, Hit, Hits, Search, SearchReport, Threshold

__all__ = [
    "Aborted",
    "Added",
    "AlreadyExists",
    "AsyncClient",
    "AsyncCollection",
    "AsyncExplain",
    "AsyncFeatureStream",
    "ClassReason",
    "Classification",
    "ClassifiedItem",
    "Client",
    "Collection",
    "ComparedHeads",
    "CurvePoint",
    "DataLoss",
    "DeadlineExceeded",
    "DifferingAnswer",
    "DuplicateGroup",
    "Estimate",
    "Example",
    "Explain",
    "F",
    "Facet",
    "FailedPrecondition",
    "Failure",
    "Fc7Error",
    "FeatureStream",
    "Features",
    "Filter",
    "Golden",
    "GoldenFile",
    "Head",
    "HeadComparison",
    "HeadMeasures",
    "HeadReport",
    "HeadWeights",
    "Hit",
    "Hits",
    "ImageDecodeError",
    "ImageLike",
    "InvalidArgument",
    "Item",
    "ItemMap",
    "ItemSample",
    "JudgedRow",
    "Label",
    "Labelled",
    "LabelsWritten",
    "Layer",
    "Match",
    "MatchSide",
    "Model",
    "NearDuplicate",
    "NotFound",
    "Occlusion",
    "PermissionDenied",
    "Place",
    "Projection",
    "Projections",
    "Provenance",
    "Recall",
    "ReliabilityBin",
    "ReloadedModel",
    "Removed",
    "ResourceExhausted",
    "Search",
    "SearchReport",
    "ServerInfo",
    "Shadow",
    "ShadowDifference",
    "Stratum",
    "Suggestion",
    "Threshold",
    "Timing",
    "TopImage",
    "TopUnits",
    "Unauthenticated",
    "Unavailable",
    "UnknownRule",
    "UnknownScore",
    "Updated",
    "View",
    "connect",
]

_ELSEWHERE = {
    "AsyncClient": "fc7.async_client",
    "AsyncCollection": "fc7.async_collection",
    "AsyncExplain": "fc7.explain",
    "AsyncFeatureStream": "fc7.feature_stream",
    "ClassReason": "fc7.explanations",
    "Client": "fc7.client",
    "Collection": "fc7.collection",
    "ComparedHeads": "fc7.head_trials",
    "CurvePoint": "fc7.head_report",
    "DifferingAnswer": "fc7.head_trials",
    "Estimate": "fc7.measures",
    "Example": "fc7.searches",
    "Explain": "fc7.explain",
    "F": "fc7.filters",
    "FeatureStream": "fc7.feature_stream",
    "Features": "fc7.features",
    "Filter": "fc7.filters",
    "HeadComparison": "fc7.head_report",
    "HeadMeasures": "fc7.measures",
    "HeadReport": "fc7.head_report",
    "HeadWeights": "fc7.head_weights",
    "Hit": "fc7.searches",
    "Hits": "fc7.searches",
    "ImageLike": "fc7.images",
    "ItemSample": "fc7.head_trials",
    "JudgedRow": "fc7.head_report",
    "Match": "fc7.explanations",
    "MatchSide": "fc7.explanations",
    "NearDuplicate": "fc7.head_report",
    "Occlusion": "fc7.explanations",
    "Place": "fc7.explanations",
    "Projection": "fc7.explanations",
    "Projections": "fc7.explanations",
    "ReliabilityBin": "fc7.head_report",
    "Search": "fc7.searches",
    "SearchReport": "fc7.searches",
    "Shadow": "fc7.head_trials",
    "ShadowDifference": "fc7.head_trials",
    "Stratum": "fc7.head_trials",
    "Threshold": "fc7.searches",
    "Timing": "fc7.contract.timing",
    "TopImage": "fc7.explanations",
    "TopUnits": "fc7.explanations",
    "UnknownRule": "fc7.measures",
    "UnknownScore": "fc7.measures",
    "View": "fc7.explanations",
    "connect": "fc7._connect",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module, metadata

    if name == "__version__":
        return metadata.version("fc7")
    if name not in __all__:
        raise AttributeError(f"module 'fc7' has no attribute {name!r}")
    errors = import_module("fc7.errors")
    if hasattr(errors, name):
        return getattr(errors, name)
    try:
        return getattr(import_module(_ELSEWHERE.get(name, "fc7.results")), name)
    except ModuleNotFoundError as error:
        raise ImportError(f"fc7 needs {error.name}, which is not installed: pip install fc7") from error


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
