"""Loading the examples of a mixture's sources."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from luthier.config.data import DataConfig
from luthier.config.prompt import PromptConfig
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.example import Example
from luthier.core.seeds import fingerprint
from luthier.core.user_files import is_there
from luthier.data.dataset import Dataset, load_dataset
from luthier.data.readers import READERS
from luthier.data.sources import find_path
from luthier.data.splits import SPLITS
from luthier.records.run_directory import file_name
from luthier.tasks.bare import AS_IS
from luthier.tasks.load import TASK_FILES
from luthier.tasks.mixture import MIXTURE, Mixture, MixtureSource, mixture_called

_OF_A_SOURCE = {
    "num_train": "num_train of each source in the mixture's file",
    "format": "rows of a format of their own",
    "subset": "subset of a source in the mixture's file",
    "validation": "a validation split of each source",
    "test": "a test split of each source",
    "replay": "a source of plain text, such as python-topics",
}
"""Settings of `DataConfig` that a mixture's sources say instead."""


def load_data(data: DataConfig, prompt: PromptConfig, seed: int, console: Console) -> Dataset:
    """The examples of a configuration, whose source may be a mixture; see `load_dataset`.

    Raises:
        UsageError, DataError: as `load_dataset`, or a mixture is not valid.
    """
    mixture = mixture_called(data.source)
    if mixture is None:
        return load_dataset(data, prompt, seed, console)
    _require_own_settings(data, prompt)
    parts = [
        _named(one, _load(mixture, one, data, prompt, seed, console)) for one in mixture.sources
    ]
    return _joined(mixture, _with_distinct_names(parts))


def _require_own_settings(data: DataConfig, prompt: PromptConfig) -> None:
    """Refuse settings that each source of a mixture has for itself."""
    default = DataConfig()
    for name, instead in _OF_A_SOURCE.items():
        if getattr(data, name) != getattr(default, name):
            raise UsageError(
                f"a mixture does not use data.{name}",
                where=f"data.{name}, data.source={data.source}",
                fix=f"use {instead}",
            )
    if prompt.template is not None:
        raise UsageError(
            "a mixture does not use prompt.template",
            where=f"prompt.template, data.source={data.source}",
            fix="give the sources that need one a template in the mixture's file",
        )


def _load(
    mixture: Mixture,
    one: MixtureSource,
    data: DataConfig,
    prompt: PromptConfig,
    seed: int,
    console: Console,
) -> Dataset:
    shared = {
        name: limit and max(1, limit // len(mixture.sources))
        for name, limit in (("num_validation", data.num_validation), ("num_test", data.num_test))
    }
    own = {"source": _place(mixture, one.source), "subset": one.subset, "num_train": one.num_train}
    return load_dataset(
        data.model_copy(update=own | shared),
        prompt.model_copy(update={"template": one.template and _place(mixture, one.template)}),
        seed,
        console,
    )


def _place(mixture: Mixture, name: str) -> str:
    """The name or path of a source or template; one beside the mixture's file comes first.

    A file that is nowhere is missed beside the mixture, where similar names are suggested from.
    """
    beside = mixture.folder / name
    is_file = Path(name).suffix in (*READERS, *TASK_FILES)
    is_missing = is_file and find_path(name) is None
    return str(beside) if is_there(beside) or is_missing else name


def _named(one: MixtureSource, dataset: Dataset) -> Dataset:
    return replace(dataset, task=file_name(one.name)) if one.name else dataset


def _with_distinct_names(parts: list[Dataset]) -> list[Dataset]:
    """The sources with a number behind names that another source has already."""
    seen: dict[str, int] = {}
    distinct = []
    for part in parts:
        seen[part.task] = seen.get(part.task, 0) + 1
        count = seen[part.task]
        distinct.append(replace(part, task=f"{part.task}-{count}") if count > 1 else part)
    return distinct


def _joined(mixture: Mixture, parts: list[Dataset]) -> Dataset:
    """All sources as one; examples know their source, and ids begin with its name."""
    splits = {
        split: tuple(
            _of_source(part.task, example) for part in parts for example in part.split(split)
        )
        for split in SPLITS
    }
    content = (part.fingerprint for part in parts)
    return Dataset(
        task=file_name(mixture.name),
        template=AS_IS,
        train=splits["train"],
        validation=splits["validation"],
        # Plain text has no question that could be answered; its loss is measured in validation.
        test=tuple(example for example in splits["test"] if not example.is_plain_text),
        dropped=tuple(dropped for part in parts for dropped in part.dropped),
        fingerprint=fingerprint(*content, mixture.model_dump_json()),
        format=MIXTURE,
        mixture=mixture,
    )


def _of_source(name: str, example: Example) -> Example:
    return replace(example, id=f"{name}/{example.id}", source=name)
