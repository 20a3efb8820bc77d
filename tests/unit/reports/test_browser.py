"""The example browser of the page, used in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from luthier.records.ladder import LadderRecord
from luthier.records.run_directory import RunDirectory
from luthier.reports import write_report
from luthier.reports.content import read_content
from luthier.reports.examples import collect_examples

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

# Uses the page as a person would, and leaves what it saw where the test can read it.
SCRIPT = """
const seen = {};
const ids = () => [...document.querySelectorAll("#list h3")].map((node) => node.textContent);
const look = (name) => { seen[name] = {
  ids: ids().map((text) => text.split(" ")[1]),
  count: document.getElementById("count").textContent,
  page: document.getElementById("page").textContent,
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
}; };
const set = (id, value, event) => {
  const node = document.getElementById(id);
  node.value = value;
  node.dispatchEvent(new Event(event));
};
look("spread");
set("filter", "all", "change");
look("start");
document.getElementById("next").click();
look("second");
set("filter", "regressed", "change");
look("regressed");
set("filter", "all", "change");
set("search", "HANDLER_77(", "input");
look("search");
set("search", "nothing says this", "input");
look("none");
const out = document.createElement("pre");
out.id = "seen";
out.textContent = JSON.stringify(seen);
document.body.append(out);
"""


CHOICES = """
const seen = {};
const count = (selector) => document.querySelectorAll("#list " + selector).length;
for (const shown of ["all", "right", "wrong"]) {
  const filter = document.getElementById("filter");
  filter.value = shown;
  filter.dispatchEvent(new Event("change"));
  seen[shown] = [document.getElementById("count").textContent, count("table.choices"),
    count("tr.accepted"), count("td.picked"), count(".sign.right"), count(".sign.wrong")];
}
const out = document.createElement("pre");
out.id = "seen";
out.textContent = JSON.stringify(seen);
document.body.append(out);
"""


def browse(page: Path, profile: Path) -> str:
    """The document after its scripts ran."""
    done = subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", f"--user-data-dir={profile}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout


def used(run: RunDirectory, script: str, folder: Path) -> Any:
    """What a script on the page of a run saw."""
    html = write_report(run)[0].read_text(encoding="utf-8")
    # The policy would stop the test's own script as well; it is tested with the security tests.
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    page = folder / "used.html"
    page.write_text(html.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    found = re.search(r'<pre id="seen">(.*?)</pre>', browse(page, folder / "profile"), re.DOTALL)
    assert found
    return json.loads(unescape(found[1]))


def test_choices_are_shown_and_filtered_by_right_and_wrong(
    tune_run: RunDirectory, tmp_path: Path
) -> None:
    path = tune_run.samples("python-docstrings")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:9]]
    for number, line in enumerate(lines):
        chosen = str(int(number >= 6))
        line |= {"choices": ["0", "1"], "words": ["even", "odd"], "likelihoods": [-1.0, -2.0]}
        line |= {"prediction": chosen, "references": ["0"], "scores": {"rougeL": float(number < 6)}}
        lines[number] = line
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    # Count, tables, right choices, those that were chosen, and signs of right and wrong answers.
    assert used(tune_run, CHOICES, tmp_path) == {
        "all": ["9 examples", 9, 9, 9, 6, 3],
        "right": ["6 examples", 6, 6, 6, 6, 0],
        "wrong": ["3 examples", 3, 3, 3, 0, 3],
    }


def test_searching_filtering_and_paging(adapt_run: RunDirectory, tmp_path: Path) -> None:
    seen = used(adapt_run, SCRIPT, tmp_path)
    rows = collect_examples(read_content(adapt_run)).rows
    ids = [row.id for row in rows]
    by_spread = [row.id for row in sorted(rows, key=lambda row: -row.spread)]
    regressed = [row.id for row in rows if row.regressed]
    assert regressed
    assert seen["start"]["ids"] == ids[:10]
    assert (seen["start"]["count"], seen["start"]["page"]) == ("128 examples", "1 of 13")
    assert seen["second"]["ids"] == ids[10:20]
    assert seen["spread"]["ids"] == by_spread[:10]
    assert seen["regressed"]["ids"] == regressed[:10]
    assert seen["regressed"]["count"].split()[0] == str(len(regressed))
    assert seen["search"]["ids"] == ["python-docstrings/0077"]
    assert seen["search"]["count"] == "1 example"
    assert (seen["none"]["ids"], seen["none"]["page"]) == ([], "1 of 1")


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_never_scrolls_sideways(
    adapt_run: RunDirectory, tmp_path: Path, width: int
) -> None:
    ladder = LadderRecord.read(adapt_run.ladder)
    long = ladder.recommendation.model_copy(update={"sentence": "Use " + "a-very-long-name" * 20})
    ladder.model_copy(update={"recommendation": long}).write(adapt_run.ladder)
    html = write_report(adapt_run)[0].read_text(encoding="utf-8")
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    probe = "<script>document.title = document.documentElement.scrollWidth;</script></body>"
    inner = json.dumps(html.replace("</body>", probe)).replace("<", "\\u003c")
    # A frame, because a browser window cannot be as narrow as a phone.
    frame = (
        f'<iframe srcdoc="" style="width:{width}px;height:900px;border:0"></iframe><script>'
        "const frame = document.querySelector('iframe');"
        "frame.onload = () => { document.title = 'width ' + frame.contentDocument.title; };"
        f"frame.srcdoc = {inner};</script>"
    )
    page = tmp_path / "frame.html"
    page.write_text(f"<!doctype html><meta charset=utf-8><title>x</title>{frame}", encoding="utf-8")
    found = re.search(r"<title>width (\d+)</title>", browse(page, tmp_path / "profile"))
    assert found
    assert int(found[1]) <= width
