"""Measure a finished run again from its weights: ``python -m stdo.evaluate run=outputs/…
save=video``."""

from stdo.cli.evaluate import main

if __name__ == "__main__":
    main()
