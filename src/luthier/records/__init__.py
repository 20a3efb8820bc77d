"""Typed records and the run directory that stores them: the interface between stages."""
