"""Write a finished run's networks for phones: ``python -m stdo.export run=outputs/…
format=onnx|executorch|ncnn``."""

from stdo.cli.export import main

if __name__ == "__main__":
    main()
