"""The annotated configuration: every section and key."""

from __future__ import annotations

from pydantic import BaseModel

from luthier.config import RunConfig

from .fields import about, field_list, models_in


def sections() -> str:
    """A heading for every section, and under it its keys."""
    return "\n\n".join(["## Top level", *_section(RunConfig, "", "")])


def _section(model: type[BaseModel], key: str, anchor: str) -> list[str]:
    """A section's text, its keys, and the sections in it.

    Args:
        model: the class of the section.
        key: its dotted key, with a dot behind; empty for the whole.
        anchor: the same with the variant, where a key has several.
    """
    inner = {name: models_in(field.annotation) for name, field in model.model_fields.items()}
    plain = [name for name, models in inner.items() if not models]
    texts = [about(model), field_list(model, key, plain, anchor)]
    for name, models in inner.items():
        for one in models:
            variant = f": {_variant(one)}" if len(models) > 1 else ""
            level = "###" if key else "##"
            address = f"{key}{name}{variant.replace(': ', '-')}"
            texts.append(f"{level} `{key}{name}`{variant} {{ #{address} }}")
            texts += _section(one, f"{key}{name}.", f"{address}.")
    return texts


def _variant(model: type[BaseModel]) -> str:
    """The value that chooses a member of a union."""
    return str(next(iter(model.model_fields.values())).default)
