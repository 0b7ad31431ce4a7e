"""Pack a finished run into what is shipped: ``python -m stdo.deliver run=outputs/…
weights.bits=8``."""

from stdo.cli.start import start


def main() -> None:
    """Entry point of ``stdo-deliver``."""
    start("deliver")


if __name__ == "__main__":
    main()
