"""A report of hostile texts: everything shows as text, nothing runs, nothing leaves."""

from __future__ import annotations

import http.server
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from luthier.core.comparisons import RunComparison, SuiteComparison, TaskComparison
from luthier.core.files import write_json, write_lines
from luthier.core.records import (
    Comparison,
    EvaluationRecord,
    Forgetting,
    LadderRecord,
    MetricResult,
    ModelStamp,
    Recommendation,
    RungRecord,
    SampleRecord,
    SuiteRecord,
    TemplateStamp,
    TrainingRecord,
)
from luthier.core.run_directory import RunDirectory
from luthier.report import write_comparison, write_report

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
TITLE = "run – Luthier report"
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


def hostile_run(output: Path, payload: str) -> RunDirectory:
    """A finished adapt run in which every text is the payload."""
    run = RunDirectory.create(output, "run")
    write_run_files(run, payload)
    # Folders of rungs are named by the configuration; here by what a file name can hold of it.
    names = [re.sub(r"[/\0]", "_", payload)[:60].strip() + str(index) for index in range(2)]
    rungs = [rung_of(run, name, payload) for name in names]
    rungs.append(RungRecord(name=payload, status="skipped", reason=payload))
    rungs.append(RungRecord(name=payload + "!", status="failed", reason=payload))
    answer = Recommendation(rung=names[1], sentence=payload, reasons=(payload, payload))
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
            id=f"{payload}{index}", group=payload, prompt=payload, prediction=payload,
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
    write_lines(folder.metrics, [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}])
    gain = Comparison(
        over=payload, difference=0.1, low=0.0, high=0.2, p=0.1, p_adjusted=0.1, test=payload, n=2
    )
    return RungRecord(
        name=name, status="done", metric=metric, metrics=(metric,), gain=gain, forgetting=forgot,
        train_seconds=1.0, evaluate_seconds=1.0, training=training,
    )  # fmt: skip


def hostile_comparison(output: Path, payload: str) -> Path:
    """A page about two runs in which every text is the payload."""
    runs = [RunDirectory(output / name) for name in "ab"]
    for run in runs:
        rung_of(run, "rung", payload)
    metric = MetricResult(value=0.5, low=0.4, high=0.6, n=2, name=payload, signature=payload)
    apart = Comparison(
        over=payload, difference=0.1, low=0.0, high=0.2, p=0.1, p_adjusted=0.1, test=payload, n=2
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


class Skeleton(HTMLParser):
    """The elements of a page and the names of their attributes: all that a text must not change."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # Markers and clips of a plot depend on its numbers, not on its texts.
        self.tags.append((tag, tuple(name for name, _ in attrs)))


def skeleton(html: str) -> list[tuple[str, tuple[str, ...]]]:
    without_plots = re.sub(r"<svg .*?</svg>", "<svg></svg>", html, flags=re.DOTALL)
    return Skeleton(without_plots).tags


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = hostile_run(tmp_path_factory.mktemp("harmless"), "harmless")
    return write_report(run)[0].read_text(encoding="utf-8")


@pytest.mark.parametrize("first", range(0, len(PAYLOADS), 5))
def test_a_text_adds_no_element_and_no_attribute(tmp_path: Path, harmless: str, first: int) -> None:
    payload = "\n".join(PAYLOADS[first : first + 5])
    html_path, markdown_path = write_report(hostile_run(tmp_path, payload))
    html = html_path.read_text(encoding="utf-8")
    assert skeleton(html) == skeleton(harmless)
    allowed = {"svg", "title", "desc", "defs", "g", "path", "use", "text", "clippath", "rect"}
    for plot in re.findall(r"<svg .*?</svg>", html, flags=re.DOTALL):
        tags = Skeleton(plot).tags
        assert {tag for tag, _ in tags} <= allowed
        assert not [name for _, names in tags for name in names if name.startswith("on")]
    markdown = re.sub(r"(?ms)^(`{3,})\w*\n.*?^\1$", "", markdown_path.read_text(encoding="utf-8"))
    assert "<" not in markdown
    assert not re.search(r"(?<!\\)\]\(", markdown)


def test_a_text_adds_nothing_to_a_comparison(tmp_path: Path) -> None:
    pages = [
        hostile_comparison(tmp_path / str(number), payload).read_text(encoding="utf-8")
        for number, payload in enumerate(("harmless", "\n".join(PAYLOADS)))
    ]
    assert skeleton(pages[0]) == skeleton(pages[1])
    assert pages[0].count('<table class="choices">') == 10


def test_template_syntax_in_a_text_is_not_evaluated(tmp_path: Path) -> None:
    html = write_report(hostile_run(tmp_path, "{{ 7 * 191 }}"))[0].read_text(encoding="utf-8")
    assert "1337" not in re.sub(r"<svg .*?</svg>", "", html, flags=re.DOTALL)
    assert "{{ 7 * 191 }}" in html


class Beacon(http.server.BaseHTTPRequestHandler):
    """Answers every request and remembers that it came."""

    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def beacon() -> Iterator[tuple[str, list[str]]]:
    """The address of a local server, and the paths that were asked of it."""
    seen: list[str] = []
    handler = type("Handler", (Beacon,), {"seen": seen})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
        server.shutdown()


def browse(page: Path, profile: Path) -> str:
    """The document after a real browser has loaded it and run what it runs."""
    done = subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", f"--user-data-dir={profile}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_no_payload_runs_and_no_request_leaves(
    tmp_path: Path, beacon: tuple[str, list[str]]
) -> None:
    address, seen = beacon
    everything = " ".join(PAYLOADS).replace(BEACON, address)
    html = write_report(hostile_run(tmp_path, everything))[0]
    document = browse(html, tmp_path / "profile")
    assert f"<title>{TITLE}</title>" in document
    assert document.count("<article>") == 10, "the page's own script did not run"
    assert seen == []


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_policy_alone_stops_a_payload_that_was_not_escaped(
    tmp_path: Path, beacon: tuple[str, list[str]]
) -> None:
    address, seen = beacon
    raw = f"<script>{OWN}</script><img src={address}/i.png onerror={OWN}>"
    html = write_report(hostile_run(tmp_path, "harmless"))[0].read_text(encoding="utf-8")
    page = tmp_path / "raw.html"
    page.write_text(html.replace("<h1>", f"{raw}<h1>"), encoding="utf-8")
    document = browse(page, tmp_path / "profile")
    assert f"<title>{TITLE}</title>" in document
    assert seen == []


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_same_payload_is_seen_where_nothing_stops_it(
    tmp_path: Path, beacon: tuple[str, list[str]]
) -> None:
    # Otherwise the two tests above would prove nothing.
    address, seen = beacon
    page = tmp_path / "control.html"
    page.write_text(f"<script>{OWN}</script><img src={address}/i.png>", encoding="utf-8")
    assert "<title>pwned</title>" in browse(page, tmp_path / "profile")
    assert "/i.png" in seen
