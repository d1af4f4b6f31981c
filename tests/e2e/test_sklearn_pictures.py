"""The transformer of scikit-learn, against a real server: what it takes, and in pipelines and searches."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

import fc7
from fc7.sklearn import FeatureExtractor, SoftmaxHead
from servers import serving
from tiny import PX

N = 24


@pytest.fixture(scope="module")
def address(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("sklearn"), "--model", str(tiny_bundle)) as served:
        yield served.address


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Half of them are light at the top, the others at the bottom."""
    images = np.random.default_rng(0).integers(0, 60, (N, PX, PX, 3), dtype=np.uint8)
    images[: N // 2, : PX // 2] += 180
    images[N // 2 :, PX // 2 :] += 180
    return images


LABELS = np.array(["top"] * (N // 2) + ["bottom"] * (N // 2))


def test_all_kinds_of_pictures_give_the_features_of_the_client(
    address: str, pictures: np.ndarray, tmp_path: Path
) -> None:
    files = []
    for i, pixels in enumerate(pictures[:3]):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        files.append(tmp_path / f"{i}.png")
    with fc7.connect(address) as client:
        expected = client.extract(pictures[:3], layer="fc6").values
    extractor = FeatureExtractor(address=address, layer="fc6")
    for given in (
        files,
        np.array([str(file) for file in files]),
        np.array([[str(file)] for file in files], object),
        [file.read_bytes() for file in files],
        [Image.open(io.BytesIO(file.read_bytes())) for file in files],
        pictures[:3],
        list(pictures[:3]),
    ):
        np.testing.assert_array_equal(extractor.fit_transform(given), expected)
    with pytest.raises(fc7.ImageDecodeError):
        extractor.transform([b"no picture"])


def test_it_works_in_pipelines_searches_and_cross_validation(address: str, pictures: np.ndarray) -> None:
    pipeline = make_pipeline(FeatureExtractor(address=address), SoftmaxHead())
    search = GridSearchCV(pipeline, {"featureextractor__layer": ["fc6", "fc7"]}, cv=2, error_score="raise")
    search.fit(list(pictures), LABELS)
    assert search.best_score_ > 0.8
    again = pickle.loads(pickle.dumps(search.best_estimator_))  # the connection stays here
    np.testing.assert_array_equal(again.predict(pictures), search.predict(pictures))
    other = make_pipeline(copy.deepcopy(pipeline[0]), LogisticRegression(max_iter=500))
    assert cross_val_score(other, list(pictures), LABELS, cv=3, error_score="raise").mean() > 0.8
