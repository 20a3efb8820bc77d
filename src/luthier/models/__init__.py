"""Where models come from: bundled, Hub, folder or GGUF file; loading, and running them forward."""
