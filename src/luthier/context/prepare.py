"""Everything a run needs, checked before the weights of a model are loaded."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

from luthier.config import ModelConfig, RunConfig
from luthier.context.general_text import measured_texts, room_beside_methods
from luthier.context.long_tests import asking, without_long_tests
from luthier.context.metrics import require_metrics
from luthier.context.run_context import RunContext
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.data.caveats import added_system, text_caveats
from luthier.data.dataset import load_dataset
from luthier.data.general import general_texts
from luthier.data.replay import replay_examples
from luthier.data.splits import SPLITS
from luthier.inference.remote import EndpointModel, open_endpoint
from luthier.methods.lora_adapter import with_adapter_settings
from luthier.methods.weightless import check_adapter
from luthier.models.load import ModelHandle, open_model
from luthier.prompts.render import PromptRenderer

Finding = Callable[[ModelConfig, Console], ModelHandle | EndpointModel]


def prepare(config: RunConfig, console: Console, find: Finding = open_model) -> RunContext:
    """Load the data, find the model, and check that they fit; no weights are loaded.

    Args:
        config: the configuration.
        console: shows progress.
        find: finds the model: `open_model` where weights will be needed, which refuses one on a
            server before anything is asked of it, or `find_model`.

    Raises:
        UsageError, DataError: whatever is wrong with configuration, data, template or model.
    """
    dataset = load_dataset(config.data, config.prompt, config.seed, console)
    require_metrics(config, dataset, console)
    handle = find(config.model, console)
    if isinstance(handle, ModelHandle):
        config = config.model_copy(update={"model": handle.config})
        check_adapter(handle)
        if handle.adapter:
            config = with_adapter_settings(config, handle.adapter)
    renderer = make_renderer(config, handle)
    if renderer.own_template is not None and isinstance(handle, ModelHandle):
        # A tuned model is saved with the template that it was tuned with.
        tokenizer = copy.copy(handle.tokenizer)
        tokenizer.chat_template = renderer.own_template
        handle = replace(handle, tokenizer=tokenizer)
    measured = measured_texts(config, handle, console)
    texts = general_texts(config.data.replay_text, console) if config.data.replay else ()
    longest = min(
        config.data.max_length or room_beside_methods(config, handle),
        room_beside_methods(config, handle),
    )
    replay = replay_examples(texts, renderer, [ids for ids, _ in measured], longest)
    setup = RunContext(config, handle, dataset, renderer, measured, replay)
    examples = [example for split in SPLITS for example in dataset.split(split)]
    with console.progress("looking for special tokens in rows", len(examples)) as advance:
        caveats = tuple(text_caveats(examples, renderer, advance))
    for caveat in caveats:
        console.warn(caveat)
    if note := added_system(examples, renderer):
        console.say(f"  {note}")
    asked = asking(setup, config.prompt.shots, config.method)
    return without_long_tests(setup, asked, console=console)


def find_model(config: ModelConfig, console: Console) -> ModelHandle | EndpointModel:
    """A model in files, or on a server; no weights are loaded.

    Raises:
        UsageError, DataError, ResourceError: there is none, or it cannot be used.
    """
    return open_endpoint(config, console) if config.is_remote else open_model(config, console)


def make_renderer(config: RunConfig, handle: ModelHandle | EndpointModel) -> PromptRenderer:
    """What turns examples into tokens of this model.

    Raises:
        DataError: a chat template is wanted, and the tokenizer has none.
        UsageError: a server writes conversations with a template of its own.
    """
    is_own = config.prompt.chat_template not in ("auto", "never")
    if isinstance(handle, EndpointModel) and (is_own or config.prompt.chat_template_kwargs):
        raise UsageError(
            "a server writes conversations with its own chat template",
            where="prompt.chat_template" if is_own else "prompt.chat_template_kwargs",
            fix="leave it out, and set the template where the server is started",
        )
    return PromptRenderer.from_config(
        config.prompt,
        handle.tokenizer,
        context_window=handle.context_window,
        encoder_decoder=handle.is_encoder_decoder,
    )
