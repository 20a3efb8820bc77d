"""The parameters that a model's output depends on, found by tracing a pass of a few tokens.

A weight without influence on the output cannot learn. Models have such weights: cross-attention
without an encoder, projections for an unused kind of attention, biases that only count tokens,
weights that a kernel reads directly, bypassing their module.
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
# LayerDrop may skip layers at random, and few tokens may not reach every expert.
_PASSES = 4
_FIRST_WORD = 3
_REASON = 200  # characters
_EXPERT = re.compile(r"(experts?[._](?:expert_)?)\d+")
_LACKS_NUMBERS = re.compile(r"\bmeta\b")
_AlongGraph = dict[Any, None]


@dataclass(frozen=True, slots=True)
class Reach:
    """The modules and parameters that a model's output depends on.

    Attributes:
        modules: names of modules on the path to the output.
        parameters: names of parameters on that path.
        failure: the reason why there is no output; everything then counts as reached.
        tried: whether the model could be run at all, with or without data.
    """

    modules: frozenset[str]
    parameters: frozenset[str]
    failure: str | None = None
    tried: bool = True

    def has_module(self, name: str) -> bool:
        """Whether a module can learn; for an expert, whether any expert in its place can."""
        return not self.is_known or _without_expert(name) in self.modules

    def has_parameter(self, name: str) -> bool:
        """Whether a parameter can learn; for an expert, whether any expert in its place can."""
        return not self.is_known or _without_expert(name) in self.parameters

    @property
    def is_known(self) -> bool:
        """Whether a pass succeeded."""
        return self.tried and self.failure is None


NOT_TRIED = Reach(frozenset(), frozenset(), tried=False)


def reach_of(loaded: LoadedModel) -> Reach:
    """Run a few tokens through a model, and follow the autograd graph back to its weights.

    Model and random state are unchanged, and no gradient is computed. A model on the meta device is
    run without data, if its code allows it.

    Args:
        loaded: the model, with or without an adapter.
    """
    model = loaded.model
    parameters = dict(model.named_parameters(remove_duplicate=False))
    if any(isinstance(one, FakeTensor) for one in parameters.values()):
        return NOT_TRIED  # another dispatch mode runs this model already
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
                return NOT_TRIED  # the training will report memory needed and available
            except Exception as error:  # noqa: BLE001 - a model's code may raise anything
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
    """The reach of a model that must be runnable; see `reach_of`.

    Args:
        loaded: the model.
        refusal: the start of the error if it cannot be run.

    Raises:
        UsageError: it cannot be run on the computing device. Other devices, such as the meta
            device, may lack operators; then nothing is known.
    """
    reach = reach_of(loaded)
    if reach.failure is None:
        return reach
    if loaded.device.type != default_device().type:
        return NOT_TRIED
    raise _cannot_run(loaded, refusal, reach)


def require_learning(loaded: LoadedModel, method: str) -> None:
    """Check that all trained parameters of a prepared model can learn.

    Raises:
        UsageError: the prepared model cannot be run, or its output does not depend on a trained
            parameter.
    """
    architecture = loaded.stamp.architecture
    reach = reach_of(loaded)
    if reach.failure is not None:
        lacks_numbers = _LACKS_NUMBERS.search(reach.failure) or not _is_prompted(loaded.model)
        if loaded.device.type == "meta" and lacks_numbers:
            return  # code of the model or of peft needs what tensors without data lack
        raise _cannot_run(loaded, f"{architecture} cannot be trained with {method}", reach)
    trained = [name for name, one in loaded.model.named_parameters() if one.requires_grad]
    mute = [one for one in trained if not reach.has_parameter(one) and not _is_untrained(one)]
    if mute:
        raise UsageError(
            f"{len(mute)} of the {len(trained)} parameters that {method} would train get no "
            f"gradient, such as {mute[0]}: the output of {architecture} does not depend on them",
            where=f"methods.{method}",
            fix="exclude their modules, or choose another method",
        )


def _cannot_run(loaded: LoadedModel, refusal: str, reach: Reach) -> UsageError:
    return UsageError(
        f"{refusal}: a test pass fails ({reach.failure})",
        where=loaded.stamp.id,
        fix="choose another method, such as lora, or another model",
    )


def reason_of(error: Exception) -> str:
    """The start of an error's message, on one line."""
    return " ".join(str(error).split())[:_REASON] or type(error).__name__


def _is_prompted(model: Any) -> bool:
    """Whether a soft prompt is the only addition to a model."""
    settings = getattr(model, "active_peft_config", None)
    return settings is not None and settings.is_prompt_learning


def _is_untrained(name: str) -> bool:
    """Whether a parameter only looks trained: AdaLoRA's ranks without data."""
    return ".ranknum." in name


def _pass(model: Any, inputs: Mapping[str, Any]) -> tuple[dict[str, list[Any]], _AlongGraph]:
    """A pass with recorded outputs.

    Returns:
        The autograd nodes of each module's output, and all nodes on the path to the logits.
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
        raise ValueError("it returns logits for fewer tokens than the input has")
    return outputs, _steps_to(logits)


def _inputs(loaded: LoadedModel, generator: torch.Generator) -> dict[str, Any]:
    """Some tokens, in the form that the training loop uses."""
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
    """A hook that records the autograd nodes of a module's output."""

    def hook(_module: Any, _arguments: Any, output: Any) -> None:
        tensors = (one for one in tree_iter(output) if isinstance(one, Tensor))
        made = [one.grad_fn for one in tensors if one.grad_fn is not None]
        outputs.setdefault(name, []).extend(made)

    return hook


def _steps_to(output: Tensor) -> _AlongGraph:
    """All nodes of autograd's graph that an output depends on."""
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
    """The model in training mode, with every possible gradient enabled; restored afterwards."""
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
    """A name without an expert's number, because tokens select the experts."""
    return _EXPERT.sub(r"\1*", name)
