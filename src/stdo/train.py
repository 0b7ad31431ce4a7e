"""Overfit networks to a video: ``python -m stdo.train backbone=wdsr scale=4 chunks=4``."""

from stdo.cli.start import start


def main() -> None:
    """Entry point of ``stdo-train``."""
    start("train")


if __name__ == "__main__":
    main()
