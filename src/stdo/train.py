"""Overfit networks to a video: ``python -m stdo.train backbone=wdsr scale=4 chunks=4``."""

from stdo.cli.train import main

if __name__ == "__main__":
    main()
