"""Luthier finds the cheapest adaptation of a language model that does your job, and proves it."""

__version__ = "0.1.0"
