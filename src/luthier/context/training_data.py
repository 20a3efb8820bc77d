"""The data of a training: tokenised examples, fingerprint, replay and watched texts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from luthier.config import RunConfig
from luthier.context.fingerprints import training_fingerprint, training_inputs
from luthier.context.general_text import watched_texts
from luthier.context.run_context import RunContext
from luthier.core.errors import DataError, UsageError
from luthier.core.method_facts import FACTS, MethodName
from luthier.data.caveats import token_caveats
from luthier.data.loss_weights import with_loss_weights
from luthier.data.mixture.account import MixtureAccount, account
from luthier.data.mixture.mixing import sources_of
from luthier.data.mixture.order import GENERAL
from luthier.data.splits import SplitName
from luthier.data.tokenised import Tokenised, tokenise
from luthier.models.quantised import require_quantisation
from luthier.prompts.render import PromptRenderer
from luthier.training import TrainingData
from luthier.training.objectives.supervised import Supervised


def training_data(context: RunContext, method: MethodName) -> TrainingData:
    """The tokenised training and validation examples for a training with ``method``.

    Raises:
        UsageError: as `require_trainable_base`.
        DataError: an example is too long and ``data.too_long`` is ``error``, or no training example
            is left.
    """
    require_trainable_base(context, method)
    train, validation = (tokenised(context, name, method) for name in ("train", "validation"))
    if not train.examples:
        raise DataError(
            "no training example is left",
            fix="see the reasons with 'luthier data show'; a larger data.max_length may help",
        )
    mixture = context.dataset.mixture
    mixed = sources_of(mixture, [one.source for one in train.examples]) if mixture else None
    by, own = context.config.train.loss_weight, len(train.examples)
    general = (replace(text, source=GENERAL) for text in context.replay)
    weighted = with_loss_weights((*train.examples, *general), by)
    return TrainingData(
        train=weighted[:own],
        validation=with_loss_weights(validation.examples, by),
        fingerprint=training_fingerprint(context, method),
        objective=Supervised(),
        inputs=training_inputs(context, method),
        dropped=train.dropped,
        caveats=tuple(token_caveats(train.rendered, context.renderer.tokenised())),
        general=weighted[own:],
        watched=watched_texts(context),
        mixed=mixed,
    )


def mixture_account(context: RunContext) -> MixtureAccount:
    """How much of a training with the run's method each source of a mixture is.

    Raises:
        UsageError: the data is no mixture.
        DataError: as `training_data`.
    """
    mixture, name = context.dataset.mixture, context.dataset.task
    if mixture is None:
        raise UsageError(
            "the data is no mixture",
            where=f"data.source={context.config.data.source}",
            fix="name a YAML file with sources; 'luthier data show' shows other data",
        )
    found = tokenised(context, "train").examples
    examples = with_loss_weights(found, context.config.train.loss_weight)
    sources = sources_of(mixture, [one.source for one in examples])
    read = Counter(one.source for one in context.dataset.train)
    return account(name, sources, examples, read - Counter(one.source for one in examples))


def require_trainable_base(context: RunContext, method: MethodName) -> None:
    """Refuse to train base weights that are quantised.

    Raises:
        UsageError: the method trains quantised weights, or the package for quantisation is missing.
    """
    quantisation = context.config.base_of(method).quantisation
    if quantisation is None:
        return
    require_quantisation()
    if FACTS[method].trains_base:
        raise UsageError(
            f"{method} trains the base, and {quantisation} weights cannot be trained",
            where="model.quantisation",
            fix="choose qlora or another adapter, or leave the base as it is",
        )


def tokenised(context: RunContext, split: SplitName, method: MethodName | None = None) -> Tokenised:
    """The tokenised examples of a split, and the dropped ones.

    Args:
        context: the data, prompts, model and settings.
        split: the split.
        method: the method to train with; None: the run's method.
    """
    renderer = context.renderer_beside(method or context.config.method).tokenised()
    return tokenise(
        context.dataset.split(split),
        renderer,
        max_length=_max_length(context.config, renderer),
        too_long=context.config.data.too_long,
        completion_only_loss=context.config.train.completion_only_loss,
        invalid=context.config.data.invalid,
    )


def max_length(context: RunContext) -> int:
    """The maximum tokens of a training example (prompt and completion) with the run's method."""
    return _max_length(context.config, context.renderer_beside(context.config.method).tokenised())


def _max_length(config: RunConfig, renderer: PromptRenderer) -> int:
    window = renderer.context_window
    return min(config.data.max_length or window, window)
