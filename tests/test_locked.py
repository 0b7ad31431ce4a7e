"""pyproject.toml, constraints.txt and locks/ say the same: what is installed is what is named, and
nothing else."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = ("build", "dev", "cuda", "fuzz", "tools", "docs")
BY_HAND = {
    *("pnnx", "ncnn", "executorch"),
    *("hydra-joblib-launcher", "hydra-submitit-launcher", "hydra-ray-launcher"),
    "hydra-optuna-sweeper",
}
"""Extras that are installed by hand, and are in no lock."""


def entries(lock: str) -> list[tuple[Requirement, int]]:
    """The pins of a lock, each with the number of its hashes."""
    text = (ROOT / "locks" / f"{lock}.txt").read_text(encoding="utf-8")
    whole = re.sub(r"#.*", "", text).replace("\\\n", " ")
    lines = [line.split(" --hash=sha256:") for line in whole.splitlines() if line.strip()]
    return [(Requirement(line.strip()), len(hashes)) for line, *hashes in lines]


def pins(lock: str) -> dict[str, set[str]]:
    """Versions by name; some have two, for older and newer Pythons."""
    found: dict[str, set[str]] = {}
    for pin, _ in entries(lock):
        found.setdefault(canonicalize_name(pin.name), set()).add(
            str(pin.specifier).removeprefix("==")
        )
    return found


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): number for name, number in pairs}


def declared() -> list[Requirement]:
    """What pyproject.toml asks for, stdo's own extras left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lines = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for extra in project["project"]["optional-dependencies"].values():
        lines += extra
    found = map(Requirement, lines)
    return [each for each in found if each.name != "stdo"]


def test_every_requirement_has_its_version_in_constraints_and_within_its_range() -> None:
    named = constraints()
    for requirement in declared():
        assert named[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_every_constraint_is_locked_at_its_version() -> None:
    locked = {name: versions for lock in LOCKS for name, versions in pins(lock).items()}
    for name, number in constraints().items():
        assert name in BY_HAND or locked[name] == {number}, name


@pytest.mark.parametrize("lock", [*LOCKS, "cpu"])
def test_every_entry_is_one_version_with_hashes(lock: str) -> None:
    for pin, hashes in entries(lock):
        assert hashes and re.fullmatch(r"==[^*,]+", str(pin.specifier)), pin


def test_the_locks_that_share_an_environment_agree() -> None:
    dev = pins("dev")
    for lock in ("build", "cuda", "fuzz"):
        for name, versions in pins(lock).items():
            assert dev.get(name, versions) == versions, name
    (torch, _), *_ = entries("cpu")
    assert str(torch.specifier) == f"=={constraints()['torch']}+cpu"
    text = (ROOT / "locks" / "dev.txt").read_text(encoding="utf-8")
    for digest in re.findall(
        r"--hash=\S+", (ROOT / "locks" / "cpu.txt").read_text(encoding="utf-8")
    ):
        assert digest in text


def test_no_file_names_a_registry() -> None:
    files = [
        *(ROOT / "locks").iterdir(),
        *(ROOT / "tools").glob("*.py"),
        ROOT / "Makefile",
        ROOT / "constraints.txt",
    ]
    for path in files:
        assert not re.search(r"https?://|index-url|find-links", path.read_text(encoding="utf-8")), (
            path
        )


def test_what_stdo_needs_here_is_locked() -> None:
    """All that is reached from stdo and its extras in this environment, with any PyTorch."""
    locked = pins("dev") | pins("cuda")
    known = {canonicalize_name(each.metadata["Name"]): each for each in distributions()}
    left, seen = ["stdo[dev]"], set()
    while left:
        wanted = Requirement(left.pop())
        name = canonicalize_name(wanted.name)
        if (name, *wanted.extras) in seen:
            continue
        seen.add((name, *wanted.extras))
        assert name == "stdo" or name in locked, f"{name} is in no lock: run make lock"
        for line in known[name].requires or ():
            need = Requirement(line)
            marker = need.marker
            extras = [*wanted.extras, ""]
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
                need.marker = None
                left.append(str(need))
    assert len(seen) > 80


def test_pip_is_the_locked_one_where_setup_made_the_environment() -> None:
    if version("pip") != constraints()["pip"]:
        pytest.skip("another way to install")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False
    )
    assert "stdo" not in done.stdout, done.stdout


def test_setup_says_where_the_locks_do_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import install

    assert install.why_unlocked() is None or sys.platform not in install.SYSTEMS
    monkeypatch.setattr(install.platform, "machine", lambda: "riscv64")
    assert install.why_unlocked() == f"some have no wheel for {sys.platform} on riscv64"
    monkeypatch.setattr(install.platform, "python_implementation", lambda: "PyPy")
    assert install.why_unlocked().startswith("they are for CPython 3.11 to 3.13, this is PyPy ")
    monkeypatch.setattr(install.sys, "version_info", (3, 14, 0))
    assert install.why_unlocked().startswith("they are for CPython 3.11 to 3.13")
