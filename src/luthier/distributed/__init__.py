"""Distributed training: process groups, parallelism, and launching."""
