"""Encode many videos to packages: ``python -m stdo.catalogue videos=films out=packages``."""

from stdo.cli.start import start


def main() -> None:
    """Entry point of ``stdo-catalogue``."""
    start("catalogue")


if __name__ == "__main__":
    main()
