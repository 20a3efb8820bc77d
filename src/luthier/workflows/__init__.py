"""Stages that produce one run directory each: tune, measure, judge, merge."""
