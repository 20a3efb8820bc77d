"""The facts about methods are those of their code and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from luthier.config import MethodsConfig, RunConfig
from luthier.config.methods import ModulesConfig
from luthier.core.method_facts import (
    FACTS,
    METHOD_NAMES,
    MethodName,
    plain_form,
    quantised_form,
)
from luthier.methods import method_for

METHODS = MethodsConfig.model_validate({"selective": {"parameters": ["mlp"]}})


def test_every_method_has_facts_settings_and_code() -> None:
    assert set(FACTS) == set(METHOD_NAMES)
    fields = {field.alias or name for name, field in MethodsConfig.model_fields.items()}
    assert fields == set(METHOD_NAMES)
    assert all(method_for(name, METHODS).name == name for name in METHOD_NAMES)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_the_settings_are_as_the_facts_say(name: MethodName) -> None:
    facts, settings = FACTS[name], METHODS.of(name)
    fields = type(settings).model_fields
    assert set(facts.sizes.values()) <= set(fields)
    assert isinstance(settings, ModulesConfig) == facts.on_modules
    assert (settings.base_quantisation is not None) == (facts.quantised_form_of is not None)
    assert (settings.positions > 0) == (not facts.packable)
    assert facts.prunes == ("final_rank" in fields)
    help_of_it = MethodsConfig.model_fields[name.replace("-", "_")].description
    assert help_of_it == f"{facts.title}."


@pytest.mark.parametrize("name", [name for name in METHOD_NAMES if name not in ("bitfit", "qlora")])
def test_the_base_is_trained_where_the_facts_say_so(
    name: MethodName, load: Any, tiny_llama: Path
) -> None:
    loaded = load(tiny_llama)
    base = {id(one) for one in loaded.model.parameters()}
    shapes = {one.shape for one in loaded.model.parameters()}
    model = method_for(name, METHODS).prepare(loaded)
    trained = [one for one in model.parameters() if one.requires_grad]
    of_base = all(id(one) in base for one in trained)
    copied = name == "layernorm" and all(one.shape in shapes for one in trained)
    assert (of_base or copied) == FACTS[name].trains_base


def test_quantised_forms_are_two_ways_of_one_method() -> None:
    for name in METHOD_NAMES:
        assert plain_form(quantised_form(name)) == plain_form(name)
    assert quantised_form("lora") == "qlora"
    assert plain_form("qlora") == "lora"
    assert plain_form("any") == quantised_form("any") == "any"


def test_a_quantised_form_asks_for_its_own_base() -> None:
    config = RunConfig()
    assert config.base_of("qlora").quantisation == "nf4"
    assert config.base_of("lora").quantisation is None
