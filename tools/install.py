"""Install what locks/ names, and stdo from this checkout, into the Python that runs this (``make
setup``).

Where the locks do not serve, which is on other Pythons and systems or with ``--unlocked``, the
versions of constraints.txt are installed, without hashes and with the newest of whatever they need
besides.
"""

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

ROOT = Path(__file__).parents[1]
SYSTEMS = {"linux": ("x86_64",), "darwin": ("arm64",)}
"""Where every locked package has a wheel; macOS from version 14 on."""

PYTHONS = ((3, 11), (3, 13))


def pip(*arguments: str, check: bool = True) -> bool:
    """Run this Python's pip; with ``check`` the first failure ends everything."""
    command = [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check"]
    done = subprocess.run(command, check=False, cwd=ROOT)
    if done.returncode and check:
        sys.exit(f"{' '.join(command[1:5])} … failed; make setup LOCK=no installs without hashes")
    return done.returncode == 0


def install(*arguments: str, check: bool = True) -> bool:
    """Run ``pip install``."""
    return pip("install", "--quiet", *arguments, check=check)


def why_unlocked() -> str | None:
    """Why the locks do not serve here; None where they do."""
    here = platform.python_version()
    if (
        platform.python_implementation() != "CPython"
        or not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]
    ):
        return (
            f"they are for CPython 3.11 to 3.13, this is {platform.python_implementation()} {here}"
        )
    if platform.machine() not in SYSTEMS.get(sys.platform, ()):
        return f"some have no wheel for {sys.platform} on {platform.machine()}"
    return None


def locked() -> None:
    """Install every package by its hash; none is taken that is not listed."""
    hashed = ("--require-hashes", "--no-deps", "--no-build-isolation")
    # pip itself first, and what builds the few that need it
    install(*hashed, "--requirement", "locks/build.txt")
    without_cuda(*hashed)
    install(*hashed, "--requirement", "locks/dev.txt")
    if needs_cuda():
        install(*hashed, "--requirement", "locks/cuda.txt")
    install("--no-deps", "--no-build-isolation", "--editable", ".")
    pip("check", "--quiet")


def without_cuda(*hashed: str) -> None:
    """Install PyTorch's build for the CPU where pip finds it; PyPI has none for Linux, and then
    nothing is done.

    It goes first, since pip prefers files whose index tells their hash.
    """
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        *hashed,
        "--requirement",
        "locks/cpu.txt",
    ]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    if done.returncode and "No matching distribution" not in done.stderr:
        sys.exit(
            f"{done.stderr}locks/cpu.txt: add the hash if you trust the file; see locks/README.md"
        )


def needs_cuda() -> bool:
    """Whether the installed PyTorch is a build that needs NVIDIA's libraries as packages."""
    try:
        needed = requires("torch") or []
    except PackageNotFoundError:
        return False
    return any(each.startswith(("nvidia-", "cuda-", "triton")) for each in needed)


def unlocked() -> None:
    """Install the versions of constraints.txt."""
    constrained = ("--constraint", "constraints.txt")
    install("--upgrade", *constrained, "pip")
    install(*constrained, "--editable", ".[dev]")
    if not install(*constrained, "--editable", ".[demo]", check=False):
        print("note: the sample clip could not be fetched; a generated one stands in for it")


def main(arguments: list[str]) -> None:
    """Install with the locks where they serve."""
    reason = "as was asked for" if "--unlocked" in arguments else why_unlocked()
    if reason is None:
        locked()
    else:
        print(f"note: installed without the hashes of locks/: {reason}", file=sys.stderr)
        unlocked()


if __name__ == "__main__":
    main(sys.argv[1:])
