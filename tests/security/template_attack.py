"""Has Luthier use hostile templates in a fresh process, and writes what each of them cost.

It is a script of its own, because the system counts the largest memory of a process and of those
that it started: in the process of the tests others were large before.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.security.hostile_templates import HOSTILE

from luthier.config import PromptConfig
from luthier.core.errors import DataError
from luthier.core.example import Example, Message
from luthier.prompts import template_process
from luthier.prompts.render import PromptRenderer
from luthier.prompts.sandbox import compile_snippet

EXAMPLE = Example(
    id="1",
    messages=(Message("user", "Where is it?"),),
    references=("There.",),
    choices=(),
    group="",
    where="rows.jsonl:1",
)


class Tokenizer:
    """One token for each character, with a chat template of somebody's."""

    eos_token = "\0"
    eos_token_id = 0
    bos_token_id = None
    special_tokens_map: Mapping[str, str] = {"eos_token": "\0"}
    added_tokens_decoder: Mapping[int, Any] = {}
    name_or_path = "somebody/model"

    def __init__(self, chat_template: Any) -> None:
        self.chat_template = chat_template

    def __call__(self, text: str, **_options: Any) -> Any:
        return {"input_ids": [*map(ord, text)]}

    def decode(self, ids: Any, **_options: Any) -> str:
        return "".join(map(chr, ids))


def _use(tokenizer: Tokenizer, setting: str) -> str:
    config = PromptConfig(chat_template=setting)
    renderer = PromptRenderer.from_config(config, tokenizer, context_window=10**9)  # type: ignore[arg-type]
    renderer.training(EXAMPLE, completion_only_loss=True)
    return renderer.prompt(EXAMPLE).text


def of_the_model(source: str) -> str:
    """The text of a model's own template."""
    return _use(Tokenizer(source), "auto")


def of_a_named_one(source: str) -> str:
    """The text of one of several templates of a model."""
    return _use(Tokenizer({"default": source, "tool_use": source}), "auto")


def of_a_file(source: str) -> str:
    """The text of a file that the user names."""
    path = Path(sys.argv[1]) / "mine.jinja"
    path.write_text(source, encoding="utf-8", errors="surrogatepass")
    return _use(Tokenizer(None), str(path))


def of_a_task(source: str) -> str:
    """The text of a task's template."""
    row = {"messages": [{"role": "user", "content": "Where is it?"}], "tools": None}
    return compile_snippet(source).render(row)


KINDS: dict[str, Callable[[str], str]] = {
    "model": of_the_model,
    "named": of_a_named_one,
    "file": of_a_file,
    "task": of_a_task,
}


def _used() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(kind)[:2]) for kind in kinds)


def _peak_of_this_process() -> float:
    """In MB. That of getrusage counts the process, too, from which this one was started."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def attempt(kind: str, source: str) -> dict[str, Any]:
    """What came of one template: its cost, its text's length or the error."""
    seconds, began = _used(), time.monotonic()
    result: dict[str, Any] = {}
    try:
        text = KINDS[kind](source)
        result |= {"characters": len(text), "text": text[:200]}
    except DataError as error:
        result |= {"error": str(error), "characters": len(str(error))}
    except BaseException as error:  # noqa: BLE001 - none may come; the test says which
        result |= {"escaped": f"{type(error).__name__}: {error}"[:200], "characters": 0}
    template_process._PROCESS.close()  # so that its cost is counted
    own = _peak_of_this_process()
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {
        **result,
        "seconds": _used() - seconds,
        "waited": time.monotonic() - began,
        "own_mb": own,
        "worker_mb": worker,
    }


if __name__ == "__main__":
    for _number, _name in enumerate(json.loads(sys.argv[2])):
        _source = HOSTILE[_name]
        for _kind in KINDS:
            # A file and a named template go the way of the model's own: some of them suffice.
            if _kind in ("model", "task") or _number % 5 == 0:
                print(json.dumps({"name": _name, "kind": _kind, **attempt(_kind, _source)}))
