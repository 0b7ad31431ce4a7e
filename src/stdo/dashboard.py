"""Make the W&B dashboard: ``python -m stdo.dashboard runs=[outputs] entity=me``."""

from stdo.cli.start import start


def main() -> None:
    """Entry point of ``stdo-dashboard``."""
    start("dashboard")


if __name__ == "__main__":
    main()
