"""Video in and out: readers, writers, degradation, prepared frames, the sample clip."""
