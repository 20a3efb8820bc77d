"""What a model's output depends on: found by a pass of a few tokens, not from lists of names.

A weight that the output does not depend on cannot learn. Models have such weights: cross-attention
without an encoder, projections for a kind of attention that nobody asks for, biases that only count
tokens, weights that a kernel reads past their module.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._pytree import tree_iter

from luthier.core.errors import UsageError
from luthier.methods.meta_device import numberless
from luthier.models.device import default_device
from luthier.models.forward import without_cache
from luthier.models.load import LoadedModel
from luthier.models.quiet_transformers import quiet_transformers

_ROWS, _TOKENS = 2, 16
# Layers may be left out at random, and a few tokens need not be sent to every expert.
_PASSES = 4
_FIRST_WORD = 3
_REASON = 200  # characters
_EXPERT = re.compile(r"(experts?[._](?:expert_)?)\d+")
_LACKS_NUMBERS = re.compile(r"\bmeta\b")
_AlongGraph = dict[Any, None]


@dataclass(frozen=True, slots=True)
class Reach:
    """What the output of a model depends on.

    Attributes:
        modules: names of modules whose output it depends on.
        parameters: names of parameters that it depends on.
        failure: why there is no output; everything is taken to be reached then.
        tried: whether the model itself could be run, with numbers or without.
    """

    modules: frozenset[str]
    parameters: frozenset[str]
    failure: str | None = None
    tried: bool = True

    def has_module(self, name: str) -> bool:
        """Whether a module can learn; of experts, whether any in its place can."""
        return not self.is_known or _without_expert(name) in self.modules

    def has_parameter(self, name: str) -> bool:
        """Whether a parameter can learn; of experts, whether any in its place can."""
        return not self.is_known or _without_expert(name) in self.parameters

    @property
    def is_known(self) -> bool:
        """Whether a pass has come through."""
        return self.tried and self.failure is None


NOT_TRIED = Reach(frozenset(), frozenset(), tried=False)


def reach_of(loaded: LoadedModel) -> Reach:
    """Run a few tokens through a model, and follow what they gave back to the weights.

    The model and torch's random state stay as they are, and no gradient is computed. A model on the
    meta device is run without numbers, where its code can be.

    Args:
        loaded: the model, with an adapter or without one.
    """
    model = loaded.model
    parameters = dict(model.named_parameters(remove_duplicate=False))
    if any(isinstance(one, FakeTensor) for one in parameters.values()):
        return NOT_TRIED  # another mode runs this model already
    is_meta = any(one.is_meta for one in parameters.values())
    modules: set[str] = set()
    reached: set[str] = set()
    wanted = {_without_expert(name) for name, one in parameters.items() if _may_learn(one)}
    generator = torch.Generator().manual_seed(0)
    with _as_if_all_learned(model), quiet_transformers():
        for _ in range(1 if is_meta else _PASSES):
            inputs = _inputs(loaded, generator)
            try:
                outputs, found = _pass(model, inputs)
            except (torch.OutOfMemoryError, MemoryError):
                return NOT_TRIED  # the training will say what it needs, and what there is
            except Exception as error:  # noqa: BLE001 - a model's code may stumble anywhere
                return Reach(frozenset(), frozenset(), failure=reason_of(error))
            variables = {id(node.variable) for node in found if hasattr(node, "variable")}
            reached |= {_without_expert(n) for n, one in parameters.items() if id(one) in variables}
            modules |= {
                _without_expert(name)
                for name, nodes in outputs.items()
                if any(node in found for node in nodes)
            }
            if wanted <= reached:
                break
    return Reach(frozenset(modules), frozenset(reached))


def require_pass(loaded: LoadedModel, refusal: str) -> Reach:
    """What the output of a model depends on; see `reach_of`.

    Args:
        loaded: the model.
        refusal: what cannot be done if it cannot be run.

    Raises:
        UsageError: it cannot be run, and it is on the device that computes. On others, the meta
            device among them, there need not be all operators; then nothing is known.
    """
    reach = reach_of(loaded)
    if reach.failure is None:
        return reach
    if loaded.device.type != default_device().type:
        return NOT_TRIED
    raise _cannot_run(loaded, refusal, reach)


def require_learning(loaded: LoadedModel, method: str) -> None:
    """Check that whatever a prepared model trains can learn.

    Raises:
        UsageError: the model cannot be run as it was prepared, or its output does not depend on a
            parameter that would be trained.
    """
    architecture = loaded.stamp.architecture
    reach = reach_of(loaded)
    if reach.failure is not None:
        lacks_numbers = _LACKS_NUMBERS.search(reach.failure) or not _is_prompted(loaded.model)
        if loaded.device.type == "meta" and lacks_numbers:
            return  # a model's code, or peft's, uses what tensors without numbers do not have
        raise _cannot_run(loaded, f"{architecture} cannot be trained with {method}", reach)
    trained = [name for name, one in loaded.model.named_parameters() if one.requires_grad]
    mute = [one for one in trained if not reach.has_parameter(one) and not _is_untrained(one)]
    if mute:
        raise UsageError(
            f"{len(mute)} of the {len(trained)} parameters that {method} would train get no "
            f"gradient, such as {mute[0]}: the output of {architecture} does not depend on them",
            where=f"methods.{method}",
            fix="leave their modules out, or choose another method",
        )


def _cannot_run(loaded: LoadedModel, refusal: str, reach: Reach) -> UsageError:
    return UsageError(
        f"{refusal}: a pass of a few tokens fails ({reach.failure})",
        where=loaded.stamp.id,
        fix="choose another method, such as lora, or another model",
    )


def reason_of(error: Exception) -> str:
    """The beginning of an error's message, on one line."""
    return " ".join(str(error).split())[:_REASON] or type(error).__name__


def _is_prompted(model: Any) -> bool:
    """Whether a soft prompt is all that a model has beside its own code."""
    settings = getattr(model, "active_peft_config", None)
    return settings is not None and settings.is_prompt_learning


def _is_untrained(name: str) -> bool:
    """Whether a parameter only looks trained: AdaLoRA's ranks, where values are missing."""
    return ".ranknum." in name


def _pass(model: Any, inputs: Mapping[str, Any]) -> tuple[dict[str, list[Any]], _AlongGraph]:
    """One pass.

    Returns:
        What made the outputs of each module, and all steps that led to the logits.
    """
    outputs: dict[str, list[Any]] = {}
    handles = [
        module.register_forward_hook(_noting(name, outputs))
        for name, module in model.named_modules()
    ]
    device = inputs["input_ids"].device
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices), torch.enable_grad(), numberless(device):
            logits = model(**inputs).logits
    finally:
        for handle in handles:
            handle.remove()
    if logits.shape[1] < inputs["input_ids"].shape[1]:
        raise ValueError("it gives logits for fewer tokens than there are")
    return outputs, _steps_to(logits)


def _inputs(loaded: LoadedModel, generator: torch.Generator) -> dict[str, Any]:
    """Some words, as the loop gives them."""
    settings, table = loaded.model.config, loaded.model.get_input_embeddings().weight
    others = {value for key, value in _values(settings.to_dict()) if key.endswith("token_id")}
    words = torch.tensor(
        [one for one in range(len(table)) if one not in others][_FIRST_WORD:] or [0]
    )
    length = max(1, min(_TOKENS, loaded.context_window))
    chosen_BT = torch.randint(len(words), (_ROWS, length), generator=generator)
    ids_BT = words[chosen_BT].to(table.device)
    inputs = {"input_ids": ids_BT, "attention_mask": torch.ones_like(ids_BT)}
    if loaded.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids_BT
    return {**inputs, **without_cache(loaded.model), "return_dict": True}


def _values(settings: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """All settings of a model and of its parts."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _values(value)
        elif isinstance(value, int):
            yield str(key), value


def _noting(name: str, outputs: dict[str, list[Any]]) -> Any:
    """A hook that notes what made a module's output."""

    def hook(_module: Any, _arguments: Any, output: Any) -> None:
        tensors = (one for one in tree_iter(output) if isinstance(one, Tensor))
        made = [one.grad_fn for one in tensors if one.grad_fn is not None]
        outputs.setdefault(name, []).extend(made)

    return hook


def _steps_to(output: Tensor) -> _AlongGraph:
    """All steps of autograd's graph that an output depends on."""
    found: _AlongGraph = {}
    ahead = [output.grad_fn] if output.grad_fn is not None else []
    while ahead:
        node = ahead.pop()
        if node not in found:
            found[node] = None
            ahead += [before for before, _ in node.next_functions if before is not None]
    return found


@contextmanager
def _as_if_all_learned(model: Any) -> Iterator[None]:
    """A model that trains, with a gradient for whatever can have one; after, it is as it was."""
    was_training = [(module, module.training) for module in model.modules()]
    required = [(one, one.requires_grad) for one in model.parameters()]
    model.train()
    for one, _ in required:
        one.requires_grad_(_may_learn(one))
    try:
        yield
    finally:
        for one, before in required:
            one.requires_grad_(before)
        for module, before in was_training:
            module.training = before


def _may_learn(parameter: Tensor) -> bool:
    return parameter.is_floating_point()


def _without_expert(name: str) -> str:
    """A name without the number of an expert, since tokens choose which of them they see."""
    return _EXPERT.sub(r"\1*", name)
