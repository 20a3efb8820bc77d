"""One stage as one run directory: tune, measure, judge, merge."""
