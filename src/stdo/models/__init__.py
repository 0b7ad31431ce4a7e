"""Networks: one file per backbone, `sharing` (which weights a chunk uses), cost (parameters and MACs)."""
