"""Tasks: the kinds of task, and their data, prompts, choices and metrics as YAML."""
