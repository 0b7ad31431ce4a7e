"""List the commands: ``python -m stdo``."""

import sys

from stdo.cli.commands import listing

if __name__ == "__main__":
    sys.stdout.write(f"{listing()}\n")
