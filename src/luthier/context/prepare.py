"""Preparation of a run: all inputs, checked before the model's weights are loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from luthier.config import ModelConfig, RunConfig
from luthier.context.answer_mode import wants_choices
from luthier.context.found_model import FoundModel, find_model, find_weights
from luthier.context.general_text import measured_texts, room_beside_methods
from luthier.context.long_tests import asking, without_long_tests
from luthier.context.metrics import require_metrics
from luthier.context.run_context import RunContext
from luthier.core.console import Console
from luthier.data.caveats import added_system, text_caveats
from luthier.data.general import general_texts
from luthier.data.mixture.load import load_data
from luthier.data.replay import replay_examples
from luthier.data.splits import SPLITS


def prepare(config: RunConfig, console: Console) -> RunContext:
    """Load the data, find the model, and check that they fit, without loading weights.

    A model on a server is refused before any request is sent.

    Raises:
        UsageError, DataError: the configuration, data, template or model is wrong.
    """
    context = _prepare(config, console, find_weights)
    handle, config = context.weights(), context.config
    measured = measured_texts(config, handle, console)
    texts = general_texts(config.data.replay_text, console) if config.data.replay else ()
    room = room_beside_methods(config, handle)
    longest = min(config.data.max_length or room, room)
    measured_ids = [ids for ids, _ in measured]
    replay = replay_examples(texts, context.renderer.tokenised(), measured_ids, longest)
    return replace(context, general_texts=measured, replay=replay)


def prepare_evaluation(config: RunConfig, console: Console) -> RunContext:
    """Prepare as `prepare` does, for an evaluation only; the model may be on a server.

    Raises:
        UsageError, DataError: the configuration, data, template or model is wrong.
        ResourceError: the server cannot be reached.
    """
    return _prepare(config, console, find_model)


def _prepare(
    config: RunConfig, console: Console, find: Callable[[ModelConfig, Console], FoundModel]
) -> RunContext:
    dataset = load_data(config.data, config.prompt, config.seed, console)
    require_metrics(config, dataset, console)
    model = find(config.model, console)
    config = model.configured(config)
    renderer = model.renderer(config.prompt)
    context = RunContext(config, model.with_renderer(renderer), dataset, renderer)
    if wants_choices(config, dataset) and not context.chooses:
        console.warn(
            "the server gives no log-probabilities of answers after these prompts, so the choices "
            "are generated as text"
        )
    examples = [example for split in SPLITS for example in dataset.split(split)]
    with console.progress("looking for special tokens in rows", len(examples)) as advance:
        caveats = tuple(text_caveats(examples, renderer, advance))
    for caveat in caveats:
        console.warn(caveat)
    if note := added_system(examples, renderer):
        console.say(f"  {note}")
    asked = asking(context, config.prompt.shots, config.method)
    return without_long_tests(context, asked, console=console)
