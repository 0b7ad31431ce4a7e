"""Make the W&B dashboard: ``python -m stdo.dashboard runs=[outputs] entity=me``."""

from stdo.cli.dashboard import main

if __name__ == "__main__":
    main()
