"""Statistics: intervals, paired tests, and how many examples a difference needs."""
