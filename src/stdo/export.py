"""Write a finished run's networks for phones: ``python -m stdo.export run=outputs/…
format=onnx|executorch|ncnn``."""

from stdo.cli.start import start


def main() -> None:
    """Entry point of ``stdo-export``."""
    start("export")


if __name__ == "__main__":
    main()
