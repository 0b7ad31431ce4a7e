"""Pixels in and out: readers, writer, degradation (HR to LR), the store of prepared frames, the
sample clip."""
