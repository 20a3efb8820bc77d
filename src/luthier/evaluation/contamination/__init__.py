"""Test examples that stand in the training data."""
