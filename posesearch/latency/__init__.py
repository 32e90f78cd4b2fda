"""Latency: measured by a stated protocol, or clearly something else."""
