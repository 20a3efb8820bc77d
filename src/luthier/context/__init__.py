"""A run and its parts before work begins: model, data, prompts, manifest."""
