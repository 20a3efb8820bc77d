"""Tasks: data, wordings, choices and metrics as YAML, and the kinds of task there are."""
