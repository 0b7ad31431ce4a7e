"""What came out: reconstruction, metrics, heat maps, crops and tables."""
