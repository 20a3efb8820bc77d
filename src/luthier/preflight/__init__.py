"""Checks before anything is spent: dry run, memory, trace, and this machine."""
