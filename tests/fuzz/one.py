"""Fuzz one target with Atheris, or repeat what it found: ``python tests/fuzz/one.py TARGET
[OPTION|FILE …]``.

Options are libFuzzer's. Atheris counts the branches of stdo's own code, so that inputs are kept
that reach new ones.
"""

import hashlib
import os
import resource
import sys
import traceback
from pathlib import Path
from random import Random
from typing import NoReturn

import atheris

sys.path[:0] = [str(Path(__file__).parent)]

from mutations import mutated  # noqa: E402
from targets import CORPUS, MEMORY, MOST, SECONDS, TARGETS  # noqa: E402


def prepare(name: str) -> None:
    """Import what the target needs, with counters in it."""
    with atheris.instrument_imports(include=["stdo"]):
        TARGETS[name].run((CORPUS / name / "sound").read_bytes())
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def failed(data: bytes, options: list[str]) -> NoReturn:
    """Keep an input that failed, where libFuzzer keeps those that took too long; its way out of
    Python may not end."""
    traceback.print_exc()
    if any(Path(each).is_file() for each in options):  # repeated from its file
        os._exit(77)
    prefix = next(
        (each.partition("=")[2] for each in options if each.startswith("-artifact_prefix=")), ""
    )
    path = Path(f"{prefix}crash-{hashlib.sha1(data).hexdigest()}")
    path.write_bytes(data)
    print(f"this input failed: {path}", file=sys.stderr, flush=True)
    os._exit(77)


def main(name: str, options: list[str]) -> None:
    """Run until libFuzzer has had enough, or something but UserError comes out."""
    prepare(name)
    from stdo.core.types import UserError

    kind = TARGETS[name]

    def checked(data: bytes) -> None:
        said = ""
        try:
            kind.run(data)
        except UserError as error:
            said = str(error)
        assert "\n" not in said, "an error of several lines"

    def test(data: bytes) -> None:
        try:
            checked(data)
        except BaseException:
            failed(data, options)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        draw = Random(seed)
        if draw.random() < 0.3:
            return bytes(atheris.Mutate(data, most))
        return mutated(draw, data, kind.form)[:most]

    limits = [
        f"-timeout={SECONDS}",
        f"-rss_limit_mb={(2 * MEMORY) >> 20}",
        f"-max_len={MOST}",
        "-report_slow_units=5",
    ]
    atheris.Setup([sys.argv[0], *limits, *options], test, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"the first argument must be one of {', '.join(TARGETS)}")
    main(sys.argv[1], sys.argv[2:])
