"""Hostile texts, and runs in which every text is one of them."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

from luthier.core.files import write_json, write_lines
from luthier.records.comparison import Comparison, RunComparison, SuiteComparison, TaskComparison
from luthier.records.evaluation import (
    EvaluationRecord,
    MetricResult,
    ModelStamp,
    SampleRecord,
    SuiteRecord,
    TemplateStamp,
)
from luthier.records.forgetting import Forgetting
from luthier.records.ladder import LadderRecord, Recommendation, RungRecord
from luthier.records.run_directory import RunDirectory
from luthier.records.training import TrainingRecord
from luthier.reports import write_comparison
from luthier.reports.card import Card, Way, Wording, render_card
from luthier.reports.card_code import PEFT_ADAPTER, Base, Question
from luthier.reports.content import read_evaluations

# BEACON stands for a server of the test's own: a payload that loads anything is seen there.
BEACON = "http://beacon.invalid"
OWN = "document.title='pwned'"
PAYLOADS = [
    f"<script>{OWN}</script>",
    f"</script><script>{OWN}</script>",
    f"</SCRIPT ><script>{OWN}</script>",
    f"<!--<script>{OWN}</script>",
    f"--><script>{OWN}</script>",
    f"--!><script>{OWN}</script>",
    f"]]><script>{OWN}</script>",
    f"<script src='{BEACON}/s.js'></script>",
    f'<img src="{BEACON}/i.png">',
    f'<img src=x onerror="{OWN}">',
    f"<svg onload={OWN}>",
    f"<svg><script>{OWN}</script></svg>",
    f"</svg><script>{OWN}</script>",
    f"</title><script>{OWN}</script>",
    f"</desc><img src=x onerror={OWN}>",
    f"</style><script>{OWN}</script>",
    f"</pre></details><script>{OWN}</script>",
    f"</textarea></select></noscript><script>{OWN}</script>",
    f'<body onload="{OWN}">',
    f'<details open ontoggle="{OWN}">',
    f'<input autofocus onfocus="{OWN}">',
    f'<iframe src="javascript:parent.{OWN}"></iframe>',
    f'<iframe srcdoc="<script>parent.{OWN}</script>"></iframe>',
    f'<object data="{BEACON}/o"></object><embed src="{BEACON}/e">',
    f'<a href="javascript:{OWN}">click</a>',
    f'<base href="{BEACON}/">',
    f'<meta http-equiv="refresh" content="0;url={BEACON}/m">',
    f'<link rel="stylesheet" href="{BEACON}/c.css">',
    f"<style>@import '{BEACON}/d.css'; body {{ display: none }}</style>",
    f'" style="background:url({BEACON}/b)" x="',
    f'" onmouseover="{OWN}" autofocus onfocus="{OWN}',
    f"' onfocus='{OWN}' autofocus='",
    f'"><script>{OWN}</script>',
    f"'><script>{OWN}</script>",
    "}</style><style>*{visibility:hidden}",
    f"red;}} body{{background:url({BEACON}/p)}}",
    f"var(--ink)\"/><image href='{BEACON}/v'/>",
    f"\u2028{OWN}\u2029",
    f"\u2028*/{OWN}//",
    f'\\"}};{OWN};//',
    f"\\u003cscript\\u003e{OWN}\\u003c/script\\u003e",
    f"&lt;script&gt;{OWN}&lt;/script&gt;",
    f"&#60;script&#62;{OWN}&#60;/script&#62;",
    f"<scr\0ipt>{OWN}</scr\0ipt>",
    f"<ſcript>{OWN}</ſcript>",
    f"＜script＞{OWN}＜/script＞",
    "{{ 7 * 191 }}",
    "{% for i in range(10**9) %}x{% endfor %}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{# comment #}${7*191}#{7*191}<%= 7*191 %>",
    f"<template><script>{OWN}</script></template>",
    f'<math><mtext></p><img src=x onerror="{OWN}">',
    f"<form action='{BEACON}/f'><button autofocus>x",
    f"javascript:{OWN}",
    f"data:text/html,<script>{OWN}</script>",
    f"<plaintext>{OWN}",
    "<xmp><listing>",
    "\u202egnp.exe\u202c\u200b\ufeff",
    "$\\frac{1}{0$ _x_ ^",
]
# What ends the place that a text stands in: an attribute, an element, a comment, a string of a
# script, a paragraph, a cell or a fence of Markdown.
WAYS_OUT = (
    "", '"', "'", '">', "'>", "</script>", "</title>", "</style>", "-->", "]]>", "</text></svg>",
    "</code></pre>", "</td></tr></table>", "\n\n", "`", "\n```\n", "\r~~~\r", "|", "](", "\\",
    "\u2028", "\n---\n", "<!--", "{{", "\0", "&quot;>",
)  # fmt: skip
# What runs a script or loads something, once it is out.
RUNNERS = (
    f"<script>{OWN}</script>",
    f"<script src='{BEACON}/s.js'></script>",
    f'<img src="{BEACON}/i.png">',
    f'<img src=x onerror="{OWN}">',
    f"<svg onload={OWN}>",
    f'<details open ontoggle="{OWN}">',
    f'<input autofocus onfocus="{OWN}">',
    f'<video><source onerror="{OWN}"></video>',
    f'<iframe srcdoc="<script>parent.{OWN}</script>"></iframe>',
    f'<iframe src="javascript:parent.{OWN}"></iframe>',
    f'<meta http-equiv="refresh" content="0;url={BEACON}/m">',
    f'<link rel="stylesheet" href="{BEACON}/c.css">',
    f"<style>@import '{BEACON}/d.css';</style>",
    f'<object data="{BEACON}/o"></object>',
    f'<audio src="{BEACON}/a" autoplay></audio>',
    f"![x]({BEACON}/i.png)",
    f'<table background="{BEACON}/t"><tr><td>',
    f"<image xlink:href='{BEACON}/v' href='{BEACON}/v'/>",
)
ALL_PAYLOADS = [
    *dict.fromkeys([*PAYLOADS, *(f"{out}{run}" for out, run in product(WAYS_OUT, RUNNERS))])
]


def hostile_run(output: Path, payload: str) -> RunDirectory:
    """A finished adapt run in which every text is the payload."""
    run = RunDirectory.create(output, "run")
    write_run_files(run, payload)
    # Folders of rungs are named by the configuration; here by what a file name can hold of it.
    names = [re.sub(r"[/\0]", "_", payload)[:60].strip() + str(index) for index in range(2)]
    rungs = [rung_of(run, name, payload) for name in names]
    rungs.append(RungRecord(name=payload, status="skipped", reason=payload))
    rungs.append(RungRecord(name=payload + "!", status="failed", reason=payload))
    answer = Recommendation(
        rung=names[1], sentence=payload, reasons=(payload, payload), warnings=(payload,)
    )
    LadderRecord(
        task=payload, split=payload, metric=payload, target=0.5, alpha=0.05,
        examples={payload: 2}, model=model_of(payload), template=template_of(payload),
        rungs=tuple(rungs), recommendation=answer, seconds=3.0,
    ).write(run.ladder)  # fmt: skip
    return run


def write_run_files(run: RunDirectory, payload: str) -> None:
    run.config.write_text(f"name: {payload!r}\n# {payload}\n", encoding="utf-8")
    write_json(run.manifest, {payload: {payload: payload}, "list": [payload], "hardware": payload})


def model_of(payload: str) -> ModelStamp:
    return ModelStamp(
        id=payload, revision=payload, parameters=9, dtype=payload, architecture=payload
    )


def template_of(payload: str) -> TemplateStamp:
    return TemplateStamp(id=payload, hash=payload)


def rung_of(run: RunDirectory, name: str, payload: str) -> RungRecord:
    folder = RunDirectory(run.path / "rungs" / name)
    (folder.path / "evaluation").mkdir(parents=True)
    metric = MetricResult(value=0.5, low=0.4, high=0.6, n=2, name=payload, signature=payload)
    EvaluationRecord(
        task=payload, split=payload, model=model_of(payload), adapter=payload,
        template=template_of(payload), shots=0, chat_template=True, metrics=(metric,), seconds=1.0,
        generated_tokens=1, prompt_tokens=1, truncated_outputs=1, versions={payload: payload},
        format=payload, version=payload, labels={payload: payload},
    ).write(folder.evaluation("task"))  # fmt: skip
    SuiteRecord(
        suite=payload, format=payload, shots=(0,), scores=(metric,), tasks=(payload,),
    ).write(folder.suite("suite"))  # fmt: skip
    samples = [
        SampleRecord(
            id=f"{payload}{index}", group=payload, prediction=payload,
            prompt=f"<|im_start|>user\n{payload}<|im_end|>" if index % 2 else payload,
            references=(payload, payload), scores={payload: 0.5}, finish="length",
            choices=(payload, f"{payload}?"), words=(f"{payload}.", payload),
            likelihoods=(-1.0, -2.0), extracted={payload: payload},
        )
        for index in range(12)
    ]  # fmt: skip
    write_lines(folder.samples("task"), [sample.model_dump(mode="json") for sample in samples])
    forgot = Forgetting(
        value=0.1, low=0.0, high=0.2, n=2, before=1.0, after=1.1, tokens=9, text=payload
    )
    training = TrainingRecord(
        method=payload, fingerprint=payload, trained_parameters=1, total_parameters=9,
        artifact_bytes=9, steps=2, planned_steps=2, epochs=1.0, examples=2, trained_tokens=2,
        processed_tokens=2, best_step=2, best_validation_loss=1.0, first_loss=2.0, last_loss=1.0,
        stopped="finished", seconds=1.0, peak_memory_bytes=9,
    )  # fmt: skip
    forgot.write(folder.forgetting)
    training.write(folder.training)
    write_json(folder.model / "adapter_config.json", {payload: payload})
    write_lines(folder.metrics, [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}])
    gain = Comparison(
        baseline=payload,
        difference=0.1,
        low=0.0,
        high=0.2,
        p=0.1,
        p_adjusted=0.1,
        test=payload,
        n=2,
    )
    return RungRecord(
        name=name, status="done", unusable=payload, metric=metric, metrics=(metric,), gain=gain,
        forgetting=forgot, train_seconds=1.0, evaluate_seconds=1.0, training=training,
    )  # fmt: skip


def hostile_comparison(output: Path, payload: str) -> Path:
    """A page about two runs in which every text is the payload."""
    runs = [RunDirectory(output / name) for name in "ab"]
    for run in runs:
        rung_of(run, "rung", payload)
    metric = MetricResult(value=0.5, low=0.4, high=0.6, n=2, name=payload, signature=payload)
    apart = Comparison(
        baseline=payload,
        difference=0.1,
        low=0.0,
        high=0.2,
        p=0.1,
        p_adjusted=0.1,
        test=payload,
        n=2,
    )
    task = TaskComparison(
        task=payload, metric=payload, results=(metric, metric), comparisons=(apart,),
        better=(1,), worse=(1,),
    )  # fmt: skip
    suite = SuiteComparison(suite=payload, results=(metric, metric), comparisons=(apart,))
    names = (payload, f"{payload}!")
    comparison = RunComparison(names=names, tasks=(task,), suites=(suite,))
    page = output / "page.html"
    write_comparison([run.rung("rung") for run in runs], comparison, page)
    return page


def hostile_card(run: RunDirectory, payload: str) -> str:
    """The card of a model, every text in it the payload."""
    rung = run.rungs()[0]
    base = Base(
        payload, on_hub=False, auto_class="AutoModelForCausalLM", revision=payload, note=payload,
        file=payload,
    )  # fmt: skip
    card = Card(
        form=PEFT_ADAPTER, base=base, method=payload, settings={payload: payload, "l": [payload]},
        task=payload, datasets=(payload,), examples={payload: 2}, template=payload,
        training=TrainingRecord.read(rung.training),
        scores=tuple(record for _, record in read_evaluations(rung)),
        forgetting=Forgetting.read(rung.forgetting), versions={payload: payload}, repo=payload,
        question=Question(payload, system=payload, has_chat_template=True), hardware=payload,
        wording=Wording({payload: payload}, about=payload, choices={payload: payload}),
        example=(payload, payload),
        ways=(Way(payload, next(record for _, record in read_evaluations(rung)).metrics[0]),),
    )  # fmt: skip
    return render_card(card)
