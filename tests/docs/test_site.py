"""The documentation site: built strictly, it needs nothing from elsewhere and no link is broken."""

from __future__ import annotations

import ast
import json
import logging
import posixpath
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.config.defaults import MkDocsConfig

from luthier.cli.main import run
from luthier.config import RunConfig
from luthier.core.errors import DivergedError, PreemptedError, ResourceError
from luthier.evaluation.metrics.registry import known_metrics
from luthier.tasks.documents import KINDS

ROOT = Path(__file__).parents[2]
LOADED = {"src", "srcset", "data", "poster"}
"""Attributes whose address a browser fetches with the page, whatever the element."""
IN_STYLE = re.compile(r"url\(\s*[\"']?([^\"')]+)|@import\s+[\"']([^\"']+)")


class Page(HTMLParser):
    """The addresses that a page fetches and links to, and the places that links may lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.classes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        self.classes.update(values.get("class", "").split())
        self.fetched += [values[name] for name in LOADED & values.keys()]
        self.fetched += fetched_by_style(values.get("style", ""))
        if tag == "link":
            self.fetched.append(values["href"])
        elif "href" in values:
            self.links.append(values["href"])

    def handle_data(self, data: str) -> None:
        if self.lasttag == "style":
            self.fetched += fetched_by_style(data)


def fetched_by_style(text: str) -> list[str]:
    return ["".join(found) for found in IN_STYLE.findall(text)]


def is_elsewhere(address: str) -> bool:
    return bool(urlsplit(address).netloc)


@pytest.fixture(scope="module")
def configuration() -> MkDocsConfig:
    return load_config(str(ROOT / "mkdocs.yml"), strict=True)


@pytest.fixture(scope="module")
def site(configuration: MkDocsConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    configuration.site_dir = str(tmp_path_factory.mktemp("site"))
    configuration.plugins.on_startup(command="build", dirty=False)
    build(configuration)  # a warning is an error
    yield Path(configuration.site_dir)
    configuration.plugins.on_shutdown()


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    return {
        path.relative_to(site).as_posix(): Page(path.read_text(encoding="utf-8"))
        for path in site.rglob("*.html")
    }


def test_every_kind_of_broken_link_is_a_warning(configuration: MkDocsConfig) -> None:
    levels = {**configuration.validation.links, **configuration.validation.nav}
    assert set(levels.values()) == {logging.WARNING}
    assert configuration.strict


@pytest.mark.parametrize(
    "text",
    [
        '<img src="https://example.org/a.png">',
        '<script src="//example.org/a.js"></script>',
        '<link rel="stylesheet" href="https://example.org/a.css">',
        '<p style="background: url(https://example.org/a.png)">',
        "<style>@import 'https://example.org/a.css';</style>",
        "<style>@import url(https://example.org/a.css);</style>",
    ],
)
def test_an_address_elsewhere_is_seen(text: str) -> None:
    assert any(map(is_elsewhere, Page(text).fetched))
    assert not Page('<a href="https://example.org">there</a>').fetched


def test_pages_fetch_nothing_from_elsewhere(site: Path, pages: dict[str, Page]) -> None:
    fetched = [address for page in pages.values() for address in page.fetched]
    for path in site.rglob("*.css"):
        fetched += fetched_by_style(path.read_text(encoding="utf-8"))
    assert len(fetched) > len(pages)
    assert [address for address in fetched if is_elsewhere(address)] == []
    # The theme's own script would fetch a library to draw these.
    assert not any("mermaid" in page.classes for page in pages.values())


def test_every_link_leads_somewhere(site: Path, pages: dict[str, Page]) -> None:
    lost = []
    for name, page in pages.items():
        if name == "404.html":  # its addresses are those of a server
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(parts.path)))
            target = path if parts.path else name
            anchor = unquote(parts.fragment)
            known = pages[target].ids | {""} if target in pages else {""}
            if not (site / target).is_file() or anchor not in known:
                lost.append((name, link))
    assert lost == []


def test_everything_generated_is_there(site: Path, pages: dict[str, Page]) -> None:
    texts = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.html"))
    assert "<!-- generated" not in texts
    assert keys_of(RunConfig()) <= pages["reference/configuration.html"].ids
    assert set(known_metrics()) <= pages["reference/metrics.html"].ids
    assert {f"kind-{kind}" for kind in KINDS} <= pages["reference/task-file.html"].ids
    assert {"luthier-adapt", "luthier-plan-search"} <= pages["reference/commands.html"].ids


def keys_of(config: RunConfig) -> set[str]:
    """The dotted keys of all sections and settings; a strategy of decoding has sections by name."""
    keys = {
        f"{section}.{key}"
        for section in ("model", "data", "prompt", "train", "evaluate", "adapt")
        for key in type(getattr(config, section)).model_fields
    }
    return keys - {"evaluate.decoding"} | {"evaluate.decoding-beam", "methods.lora.rank"}


def test_a_search_finds_guides_and_references_only(site: Path) -> None:
    found = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    pages = {entry["location"].partition("#")[0] for entry in found}
    assert {"evaluation.html", "reference/metrics.html"} <= pages
    assert not any(page.startswith(("benchmarks/", "lab/")) for page in pages)


def test_exit_codes_are_those_of_the_errors(site: Path) -> None:
    page = (site / "reference" / "errors.html").read_text(encoding="utf-8")
    codes = set(map(int, re.findall(r"<td>(\d+)</td>", page)))
    assert codes >= {0, 1, 2, 3, 130, *(e.exit_code for e in (ResourceError, DivergedError))}
    assert PreemptedError.exit_code in codes


def test_every_command_with_json_says_what_it_prints(site: Path) -> None:
    page = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    sections = re.split(r'<h[23] id="luthier-', page)[1:]
    with_json = {
        re.sub("<[^>]+>", "", section).partition("luthier ")[2].partition("&para;")[0].strip()
        for section in sections
        if "--json" in section
    }
    table = (ROOT / "docs" / "reference" / "json-output.md").read_text(encoding="utf-8")
    told = {
        command
        for row in re.findall(r"^\|(.*?)\|", table, re.M)
        for command in re.findall(r"`([^`]+)`", row)
    }
    assert len(with_json) >= 20
    assert with_json <= told


@pytest.mark.parametrize(
    "command",
    [
        "plan Qwen/Qwen2.5-7B --hardware rtx-4090 --method lora",
        "plan search Qwen/Qwen2.5-7B --hardware rtx-4090 --method qlora",
        "plan inference Qwen/Qwen2.5-7B --hardware rtx-4090",
        "sample-size 0.05 --base-rate 0.7",
        "models",
    ],
)
def test_keys_that_are_printed_are_told(
    command: str, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run([*command.split(), "--json"])
    document = json.loads(capsys.readouterr().out)
    page = (site / "reference" / "json-output.html").read_text(encoding="utf-8")
    keys = set(document if isinstance(document, dict) else document[0])
    assert {key for key in keys if f">{key}<" not in page} == set()


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("'plain'", "plain"),
        ("f'no file {name!r} in {folder}'", "no file '…' in …"),
        ("'one' if few else f'{n} of them'", "one | … of them"),
        ("'a ' + rest", "a …"),
        ("f'{hint} write it'.strip()", "… write it"),
    ],
)
def test_messages_are_read_from_the_source(
    source: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    from generate.errors import text_of

    assert text_of(ast.parse(source, mode="eval").body) == text


def test_messages_are_those_of_the_source(site: Path) -> None:
    page = (site / "reference" / "error-messages.html").read_text(encoding="utf-8")
    assert page.count("<dt>") >= 400
    assert "no key '…'" in page
