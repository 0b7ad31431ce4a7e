"""The paper's idea, free of networks and of Lightning: grid, scores, split, sample."""
