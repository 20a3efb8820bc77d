"""The ladder: try adaptation methods from cheap to expensive, and recommend one."""
