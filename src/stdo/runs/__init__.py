"""Run directories: their files and results, sweeps, and trackers such as W&B."""
