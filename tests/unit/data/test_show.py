from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from luthier.core.example import Example, Message
from luthier.data.dataset import Dataset
from luthier.data.inspect import inspect_dataset
from luthier.data.problems import Dropped
from luthier.data.show import render_report
from luthier.tasks.bare import AS_IS


def shown(example: Example, dropped: tuple[Dropped, ...] = (), **console: Any) -> str:
    dataset = Dataset("task", AS_IS, (example,), (), (example,), dropped, "f" * 16)
    stream = io.StringIO()
    Console(file=stream, width=200, **console).print(render_report(inspect_dataset(dataset, None)))
    return stream.getvalue()


def example(prompt: str, answer: str = "yes", **values: Any) -> Example:
    return Example("x", (Message("user", prompt),), (answer,), where="rows.jsonl:3", **values)


def test_trained_parts_are_marked_without_colour() -> None:
    text = shown(example("Really?"))
    assert "rows.jsonl:3, trained parts in ⟦ ⟧" in text
    assert "Really?\n⟦yes⟧" in text
    assert "\x1b" not in text


def test_colours_add_to_the_marks() -> None:
    text = shown(example("Really?"), force_terminal=True, color_system="standard")
    assert "\x1b[" in text
    assert "⟦yes⟧" in text


def test_data_is_neither_markup_nor_a_command_to_the_terminal() -> None:
    dropped = (Dropped("[red]rows[/red]:1", "[/nonsense]"),)
    text = shown(example("[bold]a[/bold] [/b]\x1b]0;title\x07"), dropped)
    assert "[bold]a[/bold] [/b]\\x1b]0;title\\x07" in text
    assert "[/nonsense]  such as [red]rows[/red]:1" in text
    assert "\x1b" not in text


def test_a_long_prompt_is_shortened_and_a_long_answer_is_not() -> None:
    text = shown(example("p" * 10_000, "a" * 10_000))
    assert "8,001 characters" in text  # the line break after the turn counts
    assert text.count("p") < 3000
    assert text.count("a" * 200) >= 49


def test_answers_of_a_closed_set_are_counted() -> None:
    text = shown(example("Really?", choices=("yes", "no")))
    assert "yes  1  █" in text
    assert "no  0" in text


def test_lengths_start_at_the_shortest_example() -> None:
    text = shown(example("long " * 10))  # 50 characters and the answer
    lines = text.split("length in characters")[1].splitlines()
    assert "█" in lines[1]  # no empty bin before
