"""Measure a finished run again from its weights: ``python -m stdo.evaluate run=outputs/…
save=video``."""

from stdo.cli.start import start


def main() -> None:
    """Entry point of ``stdo-evaluate``."""
    start("evaluate")


if __name__ == "__main__":
    main()
