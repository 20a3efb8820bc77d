"""Foundations of every layer: errors, files, secrets, seeds, units, the console."""
