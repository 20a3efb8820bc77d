"""Everything a run needs, checked before a model's weights are loaded."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from luthier.config import Decoding, ModelConfig, RunConfig
from luthier.config.train import FINGERPRINT_EXCLUDED
from luthier.context.long_tests import Asking, leave_out, long_tests
from luthier.context.metrics import metric_names, require_metrics
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.core.example import Example
from luthier.core.inputs import Inputs, inputs_fingerprint
from luthier.core.method_facts import FACTS, METHOD_NAMES, MethodName
from luthier.core.seeds import fingerprint
from luthier.data.caveats import added_system, text_caveats, token_caveats
from luthier.data.dataset import Dataset, load_dataset
from luthier.data.general import general_texts
from luthier.data.replay import general_example, replay_examples
from luthier.data.splits import SPLITS, SplitName
from luthier.data.tokenised import Tokenised, tokenise
from luthier.evaluation import EvaluationTask
from luthier.inference.remote import EndpointModel, open_endpoint
from luthier.methods.lora_adapter import with_adapter_settings
from luthier.methods.outline import check_adapter
from luthier.models.load import ModelHandle, open_model, tokenizer_fingerprint
from luthier.models.own_code import own_code
from luthier.models.quantised import require_quantisation
from luthier.models.resolve import no_weights
from luthier.prompts.render import PromptRenderer
from luthier.prompts.shots import choose_shots, with_shots
from luthier.prompts.training_example import TrainingExample
from luthier.records.evaluation import TemplateStamp
from luthier.training import TrainingData
from luthier.training.objectives.supervised import Supervised

_DEFAULT_NEW_TOKENS = 128
_ALLOWS = {"trust_remote_code": False, "allow_pickle": False}
"""Permissions, which a run may be given again or not, are no part of what identifies it."""
Finding = Callable[[ModelConfig, Console], ModelHandle | EndpointModel]


class MeasuredText(NamedTuple):
    """A general text as this model reads it, and what it is about."""

    ids: tuple[int, ...]
    group: str


@dataclass(frozen=True, slots=True)
class RunContext:
    """A run's data, prompts and model, ready to use.

    Attributes:
        config: the configuration.
        handle: the base model, described but not loaded; or one that a server runs.
        dataset: the examples by split.
        renderer: turns examples into tokens.
        general_texts: the texts on which forgetting is measured.
        replay: general texts to mix into the training, none of them among those.
    """

    config: RunConfig
    handle: ModelHandle | EndpointModel
    dataset: Dataset
    renderer: PromptRenderer
    general_texts: tuple[MeasuredText, ...]
    replay: tuple[TrainingExample, ...] = ()

    def weights(self) -> ModelHandle:
        """The base model, for what needs its weights.

        Raises:
            UsageError: a server runs it.
        """
        if isinstance(self.handle, EndpointModel):
            raise no_weights(self.handle.client.url)
        return self.handle

    @property
    def template(self) -> TemplateStamp:
        """The template, or the stamp of rows that are used as they are.

        A chat template of one's own, and arguments of the chat template, count as a part of it.
        """
        template = self.dataset.template
        name, content = (template.id, template.hash) if template else ("as-is", "")
        prompt = self.config.prompt
        if self.renderer.own_template is not None or prompt.chat_template_kwargs:
            values = json.dumps(dict(prompt.chat_template_kwargs), sort_keys=True, default=str)
            content = fingerprint(content, self.renderer.own_template or "", values)
        return TemplateStamp(id=name, hash=content or fingerprint("as-is"))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics, the first being the one that decides."""
        return metric_names(self.config, self.dataset)

    def decoding(self, shots: int) -> Decoding:
        """How answers are generated after so many worked examples."""
        template = self.dataset.template
        default = template.max_new_tokens if template else _DEFAULT_NEW_TOKENS
        limit = self.config.evaluate.max_new_tokens or default
        stop = self.config.evaluate.stop
        if stop is None:
            stop = self.renderer.stop_strings(self.dataset.train) if shots else ()
        return Decoding(max_new_tokens=limit, stop=stop, strategy=self.config.strategy)

    def task(self, shots: int, split: SplitName = "test") -> EvaluationTask:
        """The held-out examples with ``shots`` worked examples before each question.

        Raises:
            DataError: there are too few training examples to show, or a metric does not apply.
        """
        shown = choose_shots(self.dataset.train, shots, self.config.seed)
        return EvaluationTask(
            name=self.dataset.task,
            split=split,
            examples=tuple(with_shots(e, shown) for e in self.dataset.split(split)),
            template=self.template,
            shots=shots,
            chat_template=self.renderer.use_chat_template,
            metrics=self.metrics,
            decoding=self.decoding(shots),
            samples=self.config.evaluate.samples,
        )

    def asking(self, shots: int, method: MethodName | None = None) -> Asking:
        """How the test questions are asked, where a method takes a part of the context window."""
        renderer = self.renderer_beside(method) if method else self.renderer
        return Asking(renderer, shots, self.decoding(shots).max_new_tokens)

    def long_tests(self, *asked: Asking, console: Console | None = None) -> list[Example]:
        """The test examples whose prompt leaves no room for an answer in one of these ways."""
        total = len(asked) * len(self.dataset.test)
        quiet = console or Console(quiet=True)
        with quiet.progress("fitting test prompts into the context window", total) as advance:
            return long_tests(self.dataset, asked, self.config.seed, advance)

    def without_long_tests(self, *asked: Asking, console: Console) -> RunContext:
        """Without the test examples that do not fit, where ``evaluate.too_long`` is ``drop``.

        Raises:
            DataError: none is left.
        """
        if self.config.evaluate.too_long != "drop":
            return self
        dataset = leave_out(self.dataset, self.long_tests(*asked, console=console), console)
        if not dataset.test:
            raise DataError(
                "no test example is left: every prompt is too long",
                fix="use fewer shots, or a model with a longer context window",
            )
        return replace(self, dataset=dataset)

    def training_data(self, method: MethodName) -> TrainingData:
        """The tokenised training and validation examples, for training with ``method``.

        Raises:
            UsageError: as `require_trainable_base`.
            DataError: an example is too long and ``data.too_long`` is ``error``, or none is left.
        """
        self.require_trainable_base(method)
        train, validation = (self.tokenised(name, method) for name in ("train", "validation"))
        if not train.examples:
            raise DataError(
                "no training example is left",
                fix="see the reasons with 'luthier data show'; a larger data.max_length may help",
            )
        return TrainingData(
            train=train.examples,
            validation=validation.examples,
            fingerprint=self.training_fingerprint(method),
            objective=Supervised(),
            inputs=self.training_inputs(method),
            dropped=train.dropped,
            caveats=tuple(token_caveats(train.rendered, self.renderer)),
            general=self.replay,
            watched=self._watched(),
        )

    def _watched(self) -> tuple[TrainingExample, ...]:
        """The general texts, where a guard looks at what is forgotten.

        Raises:
            UsageError: there is nothing to look at, or no validation that would look.
        """
        if self.config.train.guards.max_forgetting is None:
            return ()
        if not self.general_texts or not self.config.train.validates:
            raise UsageError(
                "what is forgotten is measured at validations, on general text",
                where="train.guards.max_forgetting",
                fix="set evaluate.general_text and train.num_validations, or leave the guard out",
            )
        encodes = self.handle.is_encoder_decoder
        end = self.handle.tokenizer.eos_token_id
        return tuple(
            general_example(f"general-{number}", text.ids, end if encodes else None)
            for number, text in enumerate(self.general_texts, start=1)
        )

    def require_trainable_base(self, method: MethodName) -> None:
        """Refuse a method that trains weights which are to be quantised.

        Raises:
            UsageError: it does, or the package that quantises is missing.
        """
        quantisation = self.config.base_of(method).quantisation
        if quantisation is None:
            return
        require_quantisation()
        if FACTS[method].trains_base:
            raise UsageError(
                f"{method} trains the base, and {quantisation} weights cannot be trained",
                where="model.quantisation",
                fix="choose qlora or another adapter, or leave the base as it is",
            )

    def renderer_beside(self, method: MethodName) -> PromptRenderer:
        """What turns examples into tokens where a method takes a part of the context window."""
        return self.renderer.with_reserved_positions(self.config.methods.of(method).positions)

    @property
    def max_length(self) -> int:
        """Tokens a training example may have, prompt and completion, beside the run's method."""
        return _max_length(self.config, self.renderer_beside(self.config.method))

    def tokenised(self, split: SplitName, method: MethodName | None = None) -> Tokenised:
        """The examples of a split as tokens, and what was dropped.

        Args:
            split: which split.
            method: what they are for; None: the run's method.
        """
        renderer = self.renderer_beside(method or self.config.method)
        return tokenise(
            self.dataset.split(split),
            renderer,
            max_length=_max_length(self.config, renderer),
            too_long=self.config.data.too_long,
            completion_only_loss=self.config.train.completion_only_loss,
            invalid=self.config.data.invalid,
        )

    def training_inputs(self, method: MethodName) -> Inputs:
        """All that decides what a training with ``method`` gives, by name."""
        loop = self.config.train.model_dump(mode="json", exclude=set(FINGERPRINT_EXCLUDED))
        settings = self.config.methods.of(method).model_dump(mode="json")
        general = {
            "replay": fingerprint(*(str(example.input_ids) for example in self.replay)),
            "watched": fingerprint(*(str(example.input_ids) for example in self._watched())),
        }
        inputs = {**self._base_inputs(), "train": loop, "method": method, "methods": settings}
        return {**inputs, "general": general, **self._weights()}

    def _weights(self) -> Inputs:
        """How much each example counts, where one counts more or less; no id depends on it."""
        examples = (*self.dataset.train, *self.dataset.validation)
        if all(example.weight == 1 for example in examples):
            return {}
        weights = (f"{example.id} {example.weight!r}" for example in examples)
        return {"weights": {"examples": fingerprint(*weights)}}

    def training_fingerprint(self, method: MethodName) -> str:
        """A fingerprint of all that decides what a training with ``method`` gives."""
        return inputs_fingerprint(self.training_inputs(method))

    def evaluation_inputs(self) -> Inputs:
        """All that decides what an evaluation of the base model gives, by name."""
        values = self.config.evaluate.model_dump(mode="json", exclude={"batch_tokens"})
        return {**self._base_inputs(), "evaluate": values}

    def evaluation_fingerprint(self) -> str:
        """A fingerprint of all that decides what an evaluation of the base model gives."""
        return inputs_fingerprint(self.evaluation_inputs())

    def _base_inputs(self) -> dict[str, Any]:
        """Data, prompts, model and seed: the settings, and the content of what they name."""
        sections = self.config.model_dump(mode="json", include={"data", "prompt", "model", "seed"})
        del sections["model"]["endpoint"]  # what of it counts is in the model's revision
        sections["model"] |= _ALLOWS  # what is run of it is content
        content: dict[str, Any] = {
            name: {"examples": len(examples), "content": fingerprint(*(e.id for e in examples))}
            for name, examples in ((split, self.dataset.split(split)) for split in SPLITS)
        }
        content["template"] = self.template.hash
        content["model"] = self.handle.revision
        content["tokenizer"] = tokenizer_fingerprint(self.handle.tokenizer)
        if isinstance(self.handle, ModelHandle) and self.config.model.trust_remote_code:
            content |= {"code": found} if (found := own_code(self.handle.folder.path)) else {}
        return {**sections, "content": content}


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
    measured = _measured_texts(config, handle, console)
    texts = general_texts(config.data.replay_text, console) if config.data.replay else ()
    longest = min(config.data.max_length or _room(config, handle), _room(config, handle))
    replay = replay_examples(texts, renderer, [ids for ids, _ in measured], longest)
    setup = RunContext(config, handle, dataset, renderer, measured, replay)
    examples = [example for split in SPLITS for example in dataset.split(split)]
    with console.progress("looking for special tokens in rows", len(examples)) as advance:
        caveats = tuple(text_caveats(examples, renderer, advance))
    for caveat in caveats:
        console.warn(caveat)
    if note := added_system(examples, renderer):
        console.say(f"  {note}")
    return setup.without_long_tests(
        setup.asking(config.prompt.shots, config.method), console=console
    )


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


def _max_length(config: RunConfig, renderer: PromptRenderer) -> int:
    window = renderer.context_window
    return min(config.data.max_length or window, window)


def _room(config: RunConfig, handle: ModelHandle | EndpointModel) -> int:
    """Tokens of a text that fits beside whatever method: the same texts are for all of them."""
    taken = max(config.methods.of(method).positions for method in METHOD_NAMES)
    return max(2, handle.context_window - taken)


def _measured_texts(
    config: RunConfig, handle: ModelHandle | EndpointModel, console: Console
) -> tuple[MeasuredText, ...]:
    """Texts up to the configured number of tokens, each as far as the context window reaches."""
    if config.evaluate.general_text is None:
        return ()
    texts: list[MeasuredText] = []
    left, room = config.evaluate.general_tokens, _room(config, handle)
    for text, group in general_texts(config.evaluate.general_text, console):
        ids = handle.tokenizer(text)["input_ids"][: min(left, room)]
        if len(ids) > 1:
            texts.append(MeasuredText(tuple(ids), group))
        left -= len(ids)
        if left <= 1:
            break
    return tuple(texts)
