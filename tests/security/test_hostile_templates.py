"""Templates are programs of strangers: whatever one does, it ends soon, small, and as an error.

Every template of `hostile_templates` is used as a model's own, some also as a file of the user's
and as one of several of a model, and all as a task's. Each is refused, or its text is harmless.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.security.hostile_templates import HOSTILE

from luthier.cli.main import run as luthier
from luthier.prompts import template_process, template_worker
from luthier.prompts.template_process import TemplateLimit, TemplateRaised, render

ROOT = Path(__file__).parents[2]
SECONDS = 2.0
MEGABYTES = 256
CHARACTERS = 4_100_000
ATTACK_04 = [
    "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}x",
    "{{ 'A'*2000000000 }}",
    "{{ 'x'|center(2000000000) }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{{ 1//0 }}",
    "{% for i in range(10**12) %}{% endfor %}",
]
TURNS = {"messages": [{"role": "user", "content": "hi"}], "add_generation_prompt": True}


# Some of each kind; the others take minutes.
SOME = list(HOSTILE)[::14]
NAMES = [name if name in SOME else pytest.param(name, marks=pytest.mark.long) for name in HOSTILE]


@pytest.fixture(scope="module")
def attacks(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[dict[str, Any]]]:
    """What came of the templates that are wanted, by their names."""
    folder = tmp_path_factory.mktemp("attacks")
    every = [getattr(item, "callspec", None) for item in request.session.items]
    asked = {spec.params.get("name") for spec in every if spec}
    wanted = [name for name in HOSTILE if name in asked]
    done = subprocess.run(
        [sys.executable, "-m", "tests.security.template_attack", str(folder), json.dumps(wanted)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in HOSTILE}
    for line in done.stdout.splitlines():
        result = json.loads(line)
        found[result["name"]].append(result)
    return found


def test_there_are_many_of_them() -> None:
    assert len(HOSTILE) > 300


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_template_ends_within_the_limits(
    name: str, attacks: dict[str, list[dict[str, Any]]]
) -> None:
    assert {"model", "task"} <= {result["kind"] for result in attacks[name]}
    for result in attacks[name]:
        assert "escaped" not in result, result
        assert result["seconds"] < SECONDS, result  # processor time, all processes together
        assert result["waited"] < 30, result  # however busy the machine is
        assert result["own_mb"] < MEGABYTES, result
        assert result["worker_mb"] < MEGABYTES, result
        assert result["characters"] < CHARACTERS, result
        said = result.get("error", "")
        if "chat template" in said:
            file = "mine.jinja" if result["kind"] == "file" else "somebody/model"
            assert file in said or "rows.jsonl:1" in said, result
        for secret in ("root:", "<class '", "<module '", "__globals__': "):
            assert secret not in result.get("text", ""), result


@pytest.mark.parametrize("template", ATTACK_04)
def test_a_models_own_template_is_refused_by_name(
    template: str, tiny_llama: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Attack 04 of the project's list."""
    model = Path(shutil.copytree(tiny_llama, tmp_path / "m"))
    (model / "chat_template.jinja").write_text(template)
    assert luthier(["prompt", "--model", str(model), "--input", "hi"]) == 3
    said = "".join(capfd.readouterr().err.split())
    assert "chat_template.jinja" in said
    assert "Traceback" not in said


def test_a_file_of_the_users_is_refused_by_name(
    tiny_llama: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.jinja"
    mine.write_text("{{ messages[0].content }}{{ 'a' * 10**9 }}")
    asked = ["prompt", "--model", str(tiny_llama), "--input", "hi", f"prompt.chat_template={mine}"]
    assert luthier(asked) == 3
    said = "".join(capfd.readouterr().err.split())
    assert "mine.jinja" in said
    assert "MBofmemory" in said


def test_a_template_that_was_refused_is_refused_at_once() -> None:
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}y"
    with pytest.raises(TemplateLimit):
        render(endless, TURNS)
    began = time.process_time()
    for _ in range(1000):
        with pytest.raises(TemplateLimit):
            render(endless, TURNS)
    assert time.process_time() - began < 1


def test_a_good_template_works_after_a_hostile_one() -> None:
    for hostile in ("{{ 'a' * 10**10 }}", "{{ 10**(10**8) }}", "{{ 1//0 }}"):
        with pytest.raises((TemplateLimit, TemplateRaised)):
            render(hostile, TURNS)
        assert render("{{ messages[0].content }}", TURNS) == "hi"


def test_the_process_can_open_no_file_and_no_pipe_to_another_after_it_began() -> None:
    """What an escape from Jinja's sandbox would still meet."""
    code = (
        "import os, subprocess, sys\n"
        "from luthier.prompts.template_worker import Limits\n"
        "Limits()\n"
        "for act in (lambda: open('/etc/passwd'), lambda: open(sys.argv[1], 'w'),\n"
        "            lambda: subprocess.run(['id']), lambda: __import__('socket').socket()):\n"
        "    try:\n        act()\n        print('done')\n"
        "    except (OSError, ImportError) as error:\n        print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, os.devnull],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        check=True,
    )
    assert done.stdout.split() == ["refused"] * 4


def test_the_process_is_told_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    template_process._PROCESS.close()
    assert render("{{ 1 }}", TURNS) == "1"
    running = template_process._PROCESS._running
    assert running is not None
    assert b"hf_secret" not in Path(f"/proc/{running.pid}/environ").read_bytes()


def test_every_filter_and_test_of_jinja_works_without_opening_a_file() -> None:
    arguments = {
        "attr": "'x'", "batch": "2", "slice": "2", "groupby": "0", "map": "'string'",
        "format": "1", "replace": "'a', 'b'", "round": "", "selectattr": "0", "rejectattr": "0",
        "reject": "'odd'", "select": "'odd'", "divisibleby": "2", "eq": "1", "in": "[1]",
    }  # fmt: skip
    values = ("'a b'", "1", "[1]", "[[1]]", "{'a': 1}")
    environment = template_worker._ENVIRONMENT
    for sign, names in (("|", environment.filters), (" is ", environment.tests)):
        for name in names:
            for value in values:
                asked = f"{name}({arguments[name]})" if arguments.get(name) else name
                # Some need another value, or an argument, and say so.
                with suppress(template_process.TemplateSyntax):
                    said = _said(f"{{{{ {value}{sign}{asked} }}}}")
                    assert "open files" not in said, (name, value)


def _said(source: str) -> str:
    try:
        return render(source, TURNS)
    except TemplateRaised as error:
        return str(error)


def test_templates_speak_what_transformers_gives_them() -> None:
    """The environment is that of ``apply_chat_template``, name by name."""
    from transformers.utils.chat_template_utils import _compile_jinja_template

    theirs = _compile_jinja_template("x").environment
    ours = template_worker._ENVIRONMENT
    assert theirs.filters.keys() == ours.filters.keys()
    assert theirs.tests.keys() == ours.tests.keys()
    assert theirs.globals.keys() == ours.globals.keys()
    for setting in ("trim_blocks", "lstrip_blocks", "keep_trailing_newline", "autoescape"):
        assert getattr(theirs, setting) == getattr(ours, setting)
    for source in (
        "{{ {'é': [1, none]}|tojson(indent=2) }}", "{{ dict(a=1) }}{{ dict.fromkeys('ab', 1) }}",
        "{% set n = namespace(self=1) %}{% set n.b = 2 %}{{ n.self + n.b }}",
        "{% for i in [1, 2, 3] %}{% if i == 2 %}{% continue %}{% endif %}{{ i }}{% endfor %}",
        "{% generation %}{% set x = 1 %}a{% endgeneration %}{{ x is defined }}",
        " {% if true %}\n  x\n {% endif %}\n",
    ):  # fmt: skip
        assert render(source, TURNS) == _compile_jinja_template(source).render(**TURNS)


def test_a_long_conversation_may_take_more() -> None:
    """Limits grow with what is given: a row of 20 MB is written as it is."""
    turns = [{"role": "user", "content": "ab" * 10_000_000}]
    source = "{% for m in messages %}[{{ m.content.strip() }}]{% endfor %}"
    assert render(source, {"messages": turns}) == f"[{turns[0]['content']}]"


def test_lone_surrogates_and_large_numbers_come_back_as_they_are() -> None:
    turns = [{"role": "user", "content": "\ud800é\0", "n": 2**70, "x": 1e300}]
    source = "{{ messages[0].content }}{{ messages[0].n }}{{ messages[0].x }}"
    assert render(source, {"messages": turns}) == f"\ud800é\0{2**70}{1e300}"


def test_a_forked_process_has_one_of_its_own() -> None:
    assert render("{{ 1 }}", TURNS) == "1"
    code = (
        "import os\nfrom luthier.prompts.template_process import render\n"
        "render('{{ 1 }}', {})\nchild = os.fork()\n"
        "for n in range(300):\n    assert render('{{ n }}', {'n': [child > 0, n]}) == "
        "str([child > 0, n])\n"
        "if child:\n    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
