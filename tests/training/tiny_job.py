"""Settings of the smallest run that is a run: two chunks of tiny patches, one pass."""

JOB = [
    "backbone=espcn",
    "scale=2",
    "chunks=2",
    "patches.height=12",
    "patches.width=16",
    "budget.passes=1",
]
