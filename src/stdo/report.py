"""Put finished runs together: ``python -m stdo.report runs=[outputs] out=report``."""

from stdo.cli.start import start


def main() -> None:
    """Entry point of ``stdo-report``."""
    start("report")


if __name__ == "__main__":
    main()
