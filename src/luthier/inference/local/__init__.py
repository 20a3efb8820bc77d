"""Inference with transformers in this process."""
