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
from tests.hostile_pages import (
    BEACON,
    OWN,
    PAYLOADS,
    hostile_comparison,
    hostile_run,
)

from luthier.reports import write_report

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
TITLE = " – run"


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
    assert f"{TITLE}</title>" in document
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
    assert f"{TITLE}</title>" in document
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
