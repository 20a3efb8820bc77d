"""Predictors: everything that answers examples, with a model or without one."""
