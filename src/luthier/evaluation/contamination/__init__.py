"""Contamination: overlap of test examples with the training data."""
