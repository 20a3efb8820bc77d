"""Modules trained in full beside an adapter, and embeddings of new tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from luthier.config.methods import LoraConfig, ModulesConfig
from luthier.core.errors import UsageError
from luthier.core.names import did_you_mean
from luthier.core.targets import ends_with
from luthier.models.load import LoadedModel


def saved_modules(loaded: LoadedModel, config: ModulesConfig, where: str) -> dict[str, Any]:
    """Peft's settings for modules that are trained in full and saved with the adapter.

    Embeddings tied to the output layer stay tied if peft supports it (LoRA and its variants); with
    other methods they would diverge, and the merged model could not be saved.

    Raises:
        UsageError: a name matches no module with parameters; a token's row is trained separately
            too; or tied embeddings would diverge.
    """
    model, where, names = loaded.model, f"{where}.modules_to_save", config.modules_to_save
    if not names:
        return {}
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    has_end = False
    for name in names:
        found = [one for key, one in model.named_modules() if ends_with(key, (name,))]
        if not any(True for module in found for _ in module.parameters()):
            known = {key.rpartition(".")[2] for key, _ in model.named_modules()} - {""}
            raise UsageError(
                f"{loaded.stamp.architecture} has no module {name!r} to train and save",
                where=where,
                fix=did_you_mean(name, sorted(known), most=2) or "remove it",
            )
        has_end = has_end or any(module is end for module in found for end in ends)
    if not has_end:
        return {"modules_to_save": list(names)}
    if isinstance(config, LoraConfig) and config.trainable_tokens:
        raise UsageError(
            "modules_to_save trains the whole embedding, and trainable_tokens some of its rows",
            where=where,
            fix="remove one of modules_to_save and trainable_tokens",
        )
    if not _are_tied(model):
        return {"modules_to_save": list(names)}
    if loaded.is_encoder_decoder or not isinstance(config, LoraConfig):
        raise UsageError(
            f"input and output embeddings of {loaded.stamp.architecture} are tied, and training a "
            "copy of one of them would untie them",
            where=where,
            fix="set methods.lora.trainable_tokens=[…] to train some of its rows"
            + ("" if loaded.is_encoder_decoder else ", or choose lora"),
        )
    return {"modules_to_save": list(names), "ensure_weight_tying": True}


def token_rows(
    loaded: LoadedModel, tokens: Sequence[str | int], where: str
) -> list[int] | dict[str, list[int]] | None:
    """Peft's ``trainable_token_indices``: the embedding rows of some tokens.

    If the output layer has its own weights, its rows are trained too; otherwise a new token could
    be read but never generated. Tied weights are kept tied by peft.

    Args:
        loaded: model and tokenizer.
        tokens: in the tokenizer's spelling, or ids.
        where: the method's settings, as ``methods.lora``.

    Raises:
        UsageError: the tokenizer does not have the token, or the embedding no row for it.
    """
    if not tokens:
        return None
    where = f"{where}.trainable_tokens"
    table, output = loaded.model.get_input_embeddings(), loaded.model.get_output_embeddings()
    ids = sorted({_id_of(loaded.tokenizer, token, where) for token in tokens})
    if ids[-1] >= table.num_embeddings:
        raise UsageError(
            f"the embedding has only {table.num_embeddings} rows, none for token {ids[-1]}",
            where=where,
            fix="add rows with model.resize_embeddings=true, and the token to the tokenizer",
        )
    if _are_tied(loaded.model):
        return ids
    names = {id(module): name for name, module in loaded.model.named_modules()}
    return {names[id(module)]: ids for module in (table, output)}


def _are_tied(model: Any) -> bool:
    """Whether the output layer is tied to the embedding."""
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    if ends[1] is None or ends[0].weight is ends[1].weight:
        return True
    return bool(model.config.get_text_config().tie_word_embeddings)


def _id_of(tokenizer: Any, token: str | int, where: str) -> int:
    """The id of a token given as text or id.

    Raises:
        UsageError: the tokenizer does not have it.
    """
    if isinstance(token, int):
        return token
    vocabulary = tokenizer.get_vocab()
    if token in vocabulary:
        return int(vocabulary[token])
    hint = did_you_mean(token, vocabulary, most=3)
    raise UsageError(
        f"the tokenizer has no token {token!r}",
        where=where,
        fix=(f"{hint} Or " if hint else "")
        + "add it to the model's tokenizer, and set model.resize_embeddings=true",
    )
