"""Finding and loading models (bundled, Hub, folder or GGUF file), and their forward pass."""
