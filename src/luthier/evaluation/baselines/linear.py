"""A linear classifier over TF-IDF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import PrivateAttr

from luthier.core.errors import DataError
from luthier.core.example import Example
from luthier.core.files import new_file, read_bytes
from luthier.core.seeds import fingerprint
from luthier.core.untrusted import reading_foreign
from luthier.evaluation.baselines.base import (
    Baseline,
    BaselineAnswer,
    Frame,
    likeliest,
    question_text,
)
from luthier.evaluation.baselines.tfidf import fitted, restored
from luthier.evaluation.metrics.base import Floats
from luthier.records.evaluation import ModelStamp

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

_ARRAYS = "baseline.safetensors"
_INVERSE_REGULARISATION = 10.0
"""C of the logistic regression; the best of 1, 10 and 100 on four data sets (lab/LOG.md)."""
_MOST_EXAMPLES = 50_000
"""More training examples add time, not accuracy, to a classifier of this kind."""


class Linear(Baseline):
    """Logistic regression over TF-IDF of character n-grams, as scikit-learn computes both.

    Attributes:
        choices: the choices seen in training, in the order of the coefficients.
        vocabulary: the character n-grams, in the order of the features.
    """

    needs_choices: ClassVar[bool] = True
    choices: tuple[str, ...]
    vocabulary: tuple[str, ...]
    _arrays: dict[str, Floats] = PrivateAttr(default_factory=dict)

    @classmethod
    def fit(cls, train: Sequence[Example]) -> Self:
        """See `Baseline.fit`."""
        from sklearn.linear_model import LogisticRegression

        train = train[:_MOST_EXAMPLES]
        answers = [example.references[0] for example in train]
        if len(set(answers)) < 2:
            raise DataError(
                f"all {len(train):,} training examples have the answer {answers[0][:80]!r}",
                fix="give examples of every choice",
            )
        frame = Frame.of([question_text(example) for example in train])
        texts = [frame.content(question_text(example)) for example in train]
        vectorizer, features = fitted(texts)
        model = LogisticRegression(C=_INVERSE_REGULARISATION, max_iter=1000)
        model.fit(features, answers)
        made = cls(
            frame=frame,
            choices=tuple(map(str, model.classes_)),
            vocabulary=tuple(map(str, vectorizer.get_feature_names_out())),
        )
        coefficients = _both_sides(model.coef_, model.intercept_)
        made._arrays = {"idf": vectorizer.idf_, **coefficients}
        return made

    def answers(self, texts: Sequence[str], examples: Sequence[Example]) -> list[BaselineAnswer]:
        """See `Baseline.answers`."""
        features = self._vectorizer().transform(texts)
        logits = features @ self._arrays["coefficients"].T + self._arrays["intercepts"]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        place = {choice: number for number, choice in enumerate(self.choices)}
        return [
            likeliest(
                example.choices,
                [float(row[place[c]]) if c in place else 0.0 for c in example.choices],
            )
            for example, row in zip(examples, shares, strict=True)
        ]

    def save(self, folder: Path) -> None:
        """See `Baseline.save`; the arrays are stored as safetensors."""
        from safetensors.numpy import save

        super().save(folder)
        content = save(self._arrays)
        with new_file(folder / _ARRAYS, len(content)) as file:
            file.write(content)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See `Baseline.load`."""
        from safetensors.numpy import load

        made, path = super().load(folder), folder / _ARRAYS
        with reading_foreign("the arrays of the baseline cannot be read", str(path)):
            arrays = load(read_bytes(path))
        expected = {
            "idf": (len(made.vocabulary),),
            "coefficients": (len(made.choices), len(made.vocabulary)),
            "intercepts": (len(made.choices),),
        }
        if {name: array.shape for name, array in arrays.items()} != expected:
            raise DataError("the arrays of the baseline do not fit to its n-grams", where=str(path))
        made._arrays = arrays
        return made

    @property
    def num_parameters(self) -> int:
        """See `Baseline.num_parameters`."""
        return len(self.choices) * (len(self.vocabulary) + 1)

    def stamp(self, name: str) -> ModelStamp:
        """See `Baseline.stamp`; the version covers the arrays."""
        stamp = super().stamp(name)
        arrays = (self._arrays[name].tobytes().hex() for name in sorted(self._arrays))
        content = fingerprint(stamp.revision, *arrays)
        return stamp.model_copy(update={"revision": content})

    def _vectorizer(self) -> TfidfVectorizer:
        return restored(self.vocabulary, self._arrays["idf"])


def _both_sides(coefficients: Any, intercepts: Any) -> dict[str, Floats]:
    """The coefficients with one row for each class; scikit-learn stores two classes in one row."""
    if len(coefficients) == 1:
        coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
        intercepts = np.concatenate([np.zeros_like(intercepts), intercepts])
    return {"coefficients": np.ascontiguousarray(coefficients), "intercepts": intercepts}
