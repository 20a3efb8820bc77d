"""TF-IDF of character n-grams within words, from scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from luthier.core.errors import DataError
from luthier.evaluation.metrics.base import Floats

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

_SETTINGS: dict[str, Any] = {"analyzer": "char_wb", "ngram_range": (2, 5), "sublinear_tf": True}
"""Character n-grams were at least as accurate as words on four data sets (lab/LOG.md), and need no
word boundaries, which not every language writes."""
_MOST_FEATURES = 200_000


def fitted(texts: Sequence[str]) -> tuple[TfidfVectorizer, Any]:
    """A vectorizer fitted to texts, and their features as a sparse matrix ``[texts, features]``.

    Raises:
        DataError: the texts have no characters.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(max_features=_MOST_FEATURES, **_SETTINGS)
    try:
        return vectorizer, vectorizer.fit_transform(texts)
    except ValueError as error:
        raise DataError(f"the training texts have nothing to compare: {error}") from None


def restored(vocabulary: Sequence[str], idf: Floats) -> TfidfVectorizer:
    """The fitted vectorizer with these n-grams and weights."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    places = {term: place for place, term in enumerate(vocabulary)}
    vectorizer = TfidfVectorizer(vocabulary=places, **_SETTINGS)
    vectorizer.idf_ = idf
    return vectorizer
