"""Networks: `backbones` (one file each), `sharing` (which weights a chunk uses), cost (parameters
and MACs)."""
