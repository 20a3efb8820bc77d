"""Statistics: intervals, paired tests, and sample sizes."""
