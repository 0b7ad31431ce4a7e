"""The steps in order, without Hydra: train, evaluate."""
