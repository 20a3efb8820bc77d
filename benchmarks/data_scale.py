"""Show 200,000 rows and look for their test examples, and store the time and memory it takes.

    python benchmarks/data_scale.py [ROWS] [CASE …]

Cases are shapes of rows: pairs (prompt and completion), chats (up to four turns) and groups (pairs
with a column of groups). Rows have 50 to 200 words whose frequencies are those of the help texts of
Python; one in 50 repeats an earlier row, and one in 50 repeats only its prompt.

Stages run in processes of their own: ``data show`` with the bundled model, which reads, splits and
tokenises; the splits alone; and the search for contamination on what the splits give. The target
is 60 s and 1 GB (10^9 bytes) for each on two quiet cores. Bombs are files that hold next to
nothing: 300 MB of line ends and of zeros, packed. The target is 10 s.

Results: benchmarks/results/<date>-data-scale.json and .md. Processor time counts children too; it
says more than the clock where other programs run.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from common import provenance, store, table
from luthier.core.units import format_bytes
from luthier.models.describe_machine import hardware, versions  # placeholder

_SEED = 7
_REPEATED = 50
_BOMB_BYTES = 300_000_000
_ENCODED = {"\n": "blank lines", "\0": "zeros"}
Row = dict[str, Any]
