"""Checks before a training: dry run, memory, trace, and this machine."""
