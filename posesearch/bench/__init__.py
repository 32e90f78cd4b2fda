"""Benchmarks: every claim about speed and memory as a ratio to a baseline of the same run."""
