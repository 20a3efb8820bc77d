"""Output in a notebook: Jupyter, VS Code, Colab and other clients of an IPython kernel."""

from __future__ import annotations

import sys
import warnings
from typing import Any

from luthier.core.terminal import printable


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")  # a kernel has imported it
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


def resume_command(run: str) -> str:
    """The command that resumes a run: Python in a notebook, otherwise the command line."""
    return f'luthier.resume("{run}")' if in_notebook() else f"'luthier resume {run}'"


def ignore_missing_widgets() -> None:
    """Silence tqdm's advice to install ipywidgets, which nothing here needs."""
    warnings.filterwarnings("ignore", "IProgress not found")


class NotebookLine:
    """A line of a cell's output that is replaced, so that progress takes one line."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, text: str) -> None:
        """Replace the line."""
        from IPython.display import display

        data = {"text/plain": printable(text)}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)
