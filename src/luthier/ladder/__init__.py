"""The ladder: try the ways of adapting from cheap to dear, and recommend one."""
