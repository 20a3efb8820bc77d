"""The site's build: pages made from the code, and files that lie outside ``docs/``.

A line ``<!-- generated: NAME -->`` of a page stands for a text that is made from the code whenever
the site is built, so that it cannot differ from it. The paths of links are those of the repository.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from generate import (
    api,
    commands,
    configuration,
    errors,
    json_output,
    methods,
    metrics,
    results,
    tasks,
)

ROOT = Path(__file__).parent.parent
OUTSIDE = (
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "SECURITY.md",
    "benchmarks/results/*.md",
    "benchmarks/results/*.svg",
    "lab/LOG.md",
)
"""Files beside ``docs/`` that belong to the site, under the same paths."""
GENERATED: Mapping[str, Callable[[], str]] = {
    "configuration": configuration.sections,
    "task kinds": tasks.kinds,
    "metrics": metrics.entries,
    "methods": methods.table,
    "commands": commands.every_command,
    "records": json_output.records,
    "exit codes": errors.exit_codes,
    "error messages": errors.messages,
    "functions": api.functions,
}
_ARCHIVES = ("benchmarks/", "lab/")
"""Pages that a search would only be crowded by."""
_MARK = re.compile(r"^<!-- generated: (.+?) -->$", re.MULTILINE)
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages, with those from outside ``docs/``."""
    for path in (path for pattern in OUTSIDE for path in sorted(ROOT.glob(pattern))):
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    listed = results.index(ROOT / "benchmarks" / "results")
    files.append(File.generated(config, "benchmarks/results/index.md", content=listed))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A page with its generated parts, whose links lead to pages of the site."""
    del config, files
    if page.file.src_uri.startswith(_ARCHIVES):
        page.meta["search"] = {"exclude": True}
    text = _LINK.sub(lambda found: _on_site(found[1], page.file.src_uri), markdown)
    return _MARK.sub(lambda found: GENERATED[found[1]](), text)


def _on_site(link: str, page: str) -> str:
    """A link between files of the repository, as one between pages.

    Args:
        link: as the page has it.
        page: its path on the site, where ``docs/`` and the repository are one folder.
    """
    here = page if (ROOT / page).exists() else f"docs/{page}"
    target = posixpath.normpath(posixpath.join(posixpath.dirname(here), link))
    if (ROOT / target).is_dir():
        target += "/index.md"
    target = {"README.md": "index.md"}.get(target, target.removeprefix("docs/"))
    return posixpath.relpath(target, posixpath.dirname(page))
