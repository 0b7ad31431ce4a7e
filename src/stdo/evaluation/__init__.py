"""Reconstruction, metrics, heat maps, crops and tables."""
