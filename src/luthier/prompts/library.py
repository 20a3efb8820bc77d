"""The templates that Luthier brings along, and those in a user's files."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from luthier.config.documents import validate_document
from luthier.config.yaml import parse_yaml, read_yaml
from luthier.core.errors import UsageError
from luthier.core.names import did_you_mean
from luthier.prompts.template import Template

_WORDINGS = "wordings"


def load_template(name_or_path: str) -> Template:
    """A template by its name in the library, or from a YAML file of the user.

    Raises:
        UsageError: there is no such template (with a suggestion), or the file cannot be read.
        DataError: the file is not a valid template; every problem with its line.
    """
    library = _library()
    if name_or_path in library:
        return library[name_or_path]
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        document = read_yaml(path)
        values = {"name": path.stem, **document.values}
        return validate_document(Template, "template", document, values=values)
    hint = did_you_mean(name_or_path, library, cutoff=0.5)
    has = f"the library has {', '.join(library)}; a file of your own ends in .yaml"
    raise UsageError(
        f"there is no template {name_or_path!r}",
        fix=f"{hint} {has}".strip(),
    )


def library_templates() -> tuple[Template, ...]:
    """All templates of the library, by file and in the order of their wordings."""
    return tuple(_library().values())


@cache
def _library() -> dict[str, Template]:
    """Templates by name, which is that of their file and of their wording.

    A file holds what its wordings share, and under ``wordings`` what each of them adds.
    """
    templates: dict[str, Template] = {}
    folder = files("luthier.prompts") / "library"
    for resource in sorted(folder.iterdir(), key=lambda resource: resource.name):
        document = parse_yaml(resource.read_text(encoding="utf-8"), resource.name)
        shared = {key: value for key, value in document.values.items() if key != _WORDINGS}
        for name, wording in document.values[_WORDINGS].items():
            values = {"name": f"{Path(resource.name).stem}/{name}", **shared, **wording}
            template = validate_document(Template, "template", document, (_WORDINGS, name), values)
            templates[template.name] = template
    return templates
