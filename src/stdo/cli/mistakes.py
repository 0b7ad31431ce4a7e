"""One line and an exit code for whatever ends a command early."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stdo.config.errors import MISTAKES, one_line
from stdo.core.files import disk_error
from stdo.core.imports import lacking
from stdo.core.signals import Stopped


@contextmanager
def mistakes(full: bool) -> Iterator[None]:
    """Exit with one line and code 2 for a user's mistake, 130 for Ctrl-C, 143 for SIGTERM. full:
    raise mistakes."""
    try:
        yield
    except MISTAKES as error:
        if full:
            raise
        sys.stderr.write(f"stdo: {one_line(error)}\n")
        sys.exit(2)
    except ModuleNotFoundError as error:
        line = lacking(error)
        if full or line is None:
            raise
        sys.stderr.write(f"stdo: this {line}\n")
        sys.exit(2)
    except OSError as error:
        mended = disk_error(error, Path(error.filename or "."))
        if full or mended is error:
            raise
        sys.stderr.write(f"stdo: {one_line(mended)}\n")
        sys.exit(2)
    except Stopped as stop:
        sys.stderr.write(f"\nstdo: stopped by {stop.name}; the same command resumes\n")
        sys.exit(stop.exit_code)
