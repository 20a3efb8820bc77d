"""Mixtures: several sources trained together, at stated rates."""
