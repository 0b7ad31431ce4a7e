"""Every fuzzed reader over the seeds and some hundred mutations, without Atheris, so that the
targets do not rot."""

import random
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mutations import FORMS, mutated
from targets import CORPUS, MEMORY, SECONDS, TARGETS

from stdo.core.types import UserError

ROUNDS = 100
"""Mutations of each target, a quarter of them where a reading takes a tenth of a second."""
_SLOW = ("config",)


@contextmanager
def limited() -> Iterator[None]:
    """No more address space than `MEMORY` beside what there is: a bomb is a MemoryError."""
    if sys.platform != "linux":
        yield
        return
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def seeds(name: str) -> list[Path]:
    return sorted((CORPUS / name).iterdir())


@pytest.mark.parametrize("name", TARGETS)
def test_the_first_seed_is_read_without_a_complaint(name: str) -> None:
    TARGETS[name].run((CORPUS / name / "sound").read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_mutations_end_in_one_line_or_are_read(name: str) -> None:
    kind, refused = TARGETS[name], 0
    draw = random.Random(name)
    known = [path.read_bytes() for path in seeds(name)]
    rounds = ROUNDS // 4 if name in _SLOW else ROUNDS
    inputs = known + [mutated(draw, draw.choice(known), kind.form) for _ in range(rounds)]
    with limited():
        for number, data in enumerate(inputs):
            began, said = time.monotonic(), ""
            try:
                kind.run(data)
            except UserError as error:
                said = str(error)
            except BaseException as error:
                raise AssertionError(f"{name}, input {number}: {data[:2000]!r}") from error
            refused += said != ""
            assert "\n" not in said, f"{name}, input {number}: {said}"
            assert time.monotonic() - began < SECONDS, f"{name}, input {number}: {data[:2000]!r}"
    assert refused, "no mutation reached a check"


@pytest.mark.parametrize("form", FORMS)
def test_mutations_are_the_same_for_a_seed_and_differ_between_seeds(form: str) -> None:
    sound = {"json": "metrics", "yaml": "config", "zip": "chunks_npz", "bytes": "weights"}[form]
    data = (CORPUS / sound / "sound").read_bytes()
    made = [mutated(random.Random(seed), data, form) for seed in range(50)]
    assert made == [mutated(random.Random(seed), data, form) for seed in range(50)]
    assert len(set(made)) > 40


def test_the_corpus_is_small_and_has_a_seed_for_each_target() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 200_000
    assert {path.parent.name for path in files} == set(TARGETS)
