"""What the methods of a client return."""

from fc7.results.collections import CollectionFacts, Metric, Recall
from fc7.results.features import Failure, Provenance
from fc7.results.heads import Classification, ClassifiedItem, Head, Suggestion
from fc7.results.items import Added, Item, Removed, Updated, UpdateStatus, UpsertStatus
from fc7.results.labels import Label, LabelFormat, Labelled, LabelStatus, LabelsWritten, Verdict
from fc7.results.models import Golden, GoldenFile, Layer, Model, ReloadedModel
from fc7.results.overviews import DuplicateGroup, Facet, ItemMap, MapMethod
from fc7.results.server import ServerInfo

__all__ = [
    "Added",
    "Classification",
    "ClassifiedItem",
    "CollectionFacts",
    "DuplicateGroup",
    "Facet",
    "Failure",
    "Golden",
    "GoldenFile",
    "Head",
    "Item",
    "ItemMap",
    "Label",
    "LabelFormat",
    "LabelStatus",
    "Labelled",
    "LabelsWritten",
    "Layer",
    "MapMethod",
    "Metric",
    "Model",
    "Provenance",
    "Recall",
    "ReloadedModel",
    "Removed",
    "ServerInfo",
    "Suggestion",
    "UpdateStatus",
    "Updated",
    "UpsertStatus",
    "Verdict",
]
