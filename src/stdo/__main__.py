"""List the commands: ``python -m stdo``."""

import sys
from collections.abc import Sequence

from stdo import __version__
from stdo.cli.commands import COMMANDS, listing
from stdo.cli.completion import script


def main(words: Sequence[str]) -> int:
    """List the commands, or print what is asked for.

    Args:
        words: Of the command line.

    Returns:
        The exit code.
    """
    if not words or words[0] in ("--help", "-h"):
        sys.stdout.write(f"{listing()}\n")
    elif words[0] == "--version":
        sys.stdout.write(f"stdo {__version__}\n")
    elif words[0] == "completion":
        sys.stdout.write(script())
    else:
        known = words[0] in COMMANDS
        meant = f"did you mean python -m stdo.{words[0]}?" if known else "--help lists the commands"
        sys.stderr.write(f"stdo: {words[0]!r}: must be completion, --help or --version; {meant}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
