"""``luthier models``."""

from __future__ import annotations

from luthier.cli.flags import Json
from luthier.cli.groups import command_group
from luthier.cli.output import print_json, print_result
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.tables import Table

app = command_group("models", "List the bundled models, or get one.")


@app.default
def list_models(*, json: Json = False) -> None:
    """List the bundled models and their locations on this machine."""
    from luthier.models.bundled import BUNDLED_MODELS
    from luthier.models.resolve import bundled_path

    places = {name: bundled_path(model) for name, model in BUNDLED_MODELS.items()}
    if json:
        print_json(
            [
                {
                    "name": name,
                    "description": model.description,
                    "licence": model.licence,
                    "path": str(places[name]) if places[name] else None,
                }
                for name, model in BUNDLED_MODELS.items()
            ]
        )
        return
    table = Table("model")
    table.prose("about")
    table.prose("licence")
    table.text("on this machine")
    for name, model in BUNDLED_MODELS.items():
        place = places[name]
        here = str(place) if place else f"missing: luthier models pull {name}"
        table.add_row(name, model.description, model.licence, here)
    note = "Any other model: owner/name from the Hub, a folder, or a .gguf file."
    print_result(table, "", note)


@app.command
def pull(model: str, *, revision: str | None = None, json: Json = False) -> None:
    """Download and convert a model, so that later runs work offline.

    Args:
        model: A bundled name or a Hub id.
        revision: The Hub revision.
    """
    from luthier.config import ModelConfig
    from luthier.models.bundled import BUNDLED_MODELS
    from luthier.models.bundled import pull as pull_bundled
    from luthier.models.resolve import resolve_model

    if not model:
        raise UsageError("model.id: the model name is empty", fix="see 'luthier models'")
    console = Console()
    if bundled := BUNDLED_MODELS.get(model.lower()):
        if revision:
            raise UsageError("a bundled model has only one revision", fix="leave --revision out")
        pull_bundled(bundled, console)
    folder = resolve_model(ModelConfig(id=model, revision=revision), console)
    if json:
        print_json({"id": folder.id, "revision": folder.revision, "path": str(folder.path)})
    else:
        print_result(f"{folder.id} is ready in {folder.path}")
