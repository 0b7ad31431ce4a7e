"""Trackers: curves.csv, TensorBoard, Weights & Biases."""
