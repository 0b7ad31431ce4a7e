"""The paper's idea without networks or Lightning: patch grid, scores, chunks, samplers."""
