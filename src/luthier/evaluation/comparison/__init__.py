"""Comparisons of systems on the same examples."""
