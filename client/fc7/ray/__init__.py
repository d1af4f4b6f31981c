"""Bulk extraction on Ray Data: pictures in, Parquet files of features out. Needs the extras `cpu` or `gpu`, and `ray`.

    import ray
    from fc7.ray import FeatureExtractor, FeatureSink

    pictures = ray.data.read_binary_files("pictures", include_paths=True)
    features = pictures.map_batches(FeatureExtractor, batch_size=64, num_cpus=1, concurrency=2)
    features.write_datasink(FeatureSink("features"))

Importing this package turns off what Ray sends about its use. Ray reads the switch when it is started, so import
`fc7.ray` before `ray.init()`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fc7.ray.extractor import FeatureExtractor
    from fc7.ray.settling import Settled
    from fc7.ray.sink import FeatureSink

__all__ = ["FeatureExtractor", "FeatureSink", "Settled"]

_HOMES = {"FeatureExtractor": "extractor", "FeatureSink": "sink", "Settled": "settling"}
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # noqa: TID251  # in this process, and in those that Ray starts from it


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fc7.ray' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"fc7.ray.{_HOMES[name]}"), name)
