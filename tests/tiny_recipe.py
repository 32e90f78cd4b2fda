"""The recipe of two epochs that the tests of flows and command line train the tiny space by."""

from __future__ import annotations

RECIPE = """
name: tiny
epochs: 2
final_epochs: 1
batch_size: 16
search_fraction: 0.25
calibration_persons: 16
evaluate_every: 1
supernet: {random_subnets: 1}
"""
