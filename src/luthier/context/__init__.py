"""The inputs of a run, prepared before work begins: model, data, prompts, manifest."""
