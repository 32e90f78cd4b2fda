"""Search: Optuna proposes, latency is measured before accuracy, the front is confirmed in fresh processes."""
