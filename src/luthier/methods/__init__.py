"""The tuning methods, one file each. A method prepares a model; one loop trains them all."""

from luthier.methods.adapted import load, load_adapted, save_adapted
from luthier.methods.base import Method
from luthier.methods.registry import method_for

__all__ = ["Method", "load", "load_adapted", "method_for", "save_adapted"]
