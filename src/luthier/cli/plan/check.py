"""``luthier plan check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from luthier.cli.flags import Json
from luthier.cli.output import print_json, print_result
from luthier.cli.plan.documents import check_document
from luthier.cli.plan.tables import checks_table


def check(*runs: Annotated[Path, Parameter(required=True)], json: Json = False) -> None:
    """Compare the planned memory and time of runs with the measured ones.

    Args:
        runs: Directories of tune and adapt runs; for an adapt run, all rungs are compared.
    """
    import luthier
    from luthier.records.dry_run import PlanCheck

    checks = luthier.check_plans(runs)
    if json:
        stored = [name for name in PlanCheck.model_fields if name != "run"]
        print_json([check_document(one) | {"as_stored": stored} for one in checks])
    else:
        print_result(checks_table(checks))
