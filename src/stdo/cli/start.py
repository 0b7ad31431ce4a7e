"""Start a command that needs more than the base install. Standard library alone."""

import sys
from importlib import import_module

from stdo import __version__
from stdo.core.imports import lacking


def start(name: str) -> None:
    """Run a command; where packages are missing, say in one line what to install, with exit code 2.

    Args:
        name: Of the command's module in `stdo.cli`.
    """
    if "--version" in sys.argv[1:]:
        sys.stdout.write(f"stdo {__version__}\n")
        return
    try:
        main = import_module(f"stdo.cli.{name}").main
    except ModuleNotFoundError as error:
        line = lacking(error)
        if line is None:
            raise
        sys.stderr.write(f"stdo: stdo.{name} {line}\n")
        sys.exit(2)
    main()
