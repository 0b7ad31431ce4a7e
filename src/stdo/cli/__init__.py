"""The commands: Hydra's start, one-line errors, exit codes, and one module per command."""
