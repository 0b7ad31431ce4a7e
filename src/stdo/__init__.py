"""stdo: video delivery by overfitted super-resolution (STDO/JSTDO, CVPR 2023, and the systems it compares with)."""

__version__ = "0.1.0"
