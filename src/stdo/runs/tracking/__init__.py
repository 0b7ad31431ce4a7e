"""Who is told of a run: the curve file that every run has, TensorBoard, Weights & Biases."""
