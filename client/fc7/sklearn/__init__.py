"""fc7 in scikit-learn: a transformer from pictures to features, and a classifier."""

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise ImportError("fc7.sklearn needs scikit-learn. Run: pip install 'fc7[sklearn]'") from error

from fc7.sklearn.feature_extractor import FeatureExtractor
from fc7.sklearn.softmax_head import SoftmaxHead

__all__ = ["FeatureExtractor", "SoftmaxHead"]
