"""``luthier doctor``."""

from __future__ import annotations

from luthier.cli.flags import Json
from luthier.cli.output import print_json, print_result
from luthier.core.tables import Table
from luthier.core.terminal import Text


def doctor(*, json: Json = False) -> None:
    """Check this machine: packages, hardware, the bundled model, and folders."""
    from luthier.preflight.doctor import examine

    checks = examine()
    if json:
        print_json([check.model_dump() for check in checks])
        return
    styles = {"ok": "green", "optional": "dim", "check": "bold yellow"}
    table = Table(headed=False)
    table.text()
    table.text()
    table.prose()
    for check in checks:
        mark = "ok" if check.ok else "optional" if check.optional else "check"
        table.add_row(
            Text(mark, style=styles[mark]),
            check.name,
            check.found + (f" – {check.advice}" if check.advice else ""),
        )
    print_result(table)
