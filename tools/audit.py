"""Ask the database of known weaknesses about every locked package (``make audit``)."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKS = ("build", "dev", "cuda", "fuzz", "tools")


def asked(lock: str) -> dict[str, list[str]] | None:
    """Known weaknesses of each package of a lock, by name and version; None where the database does
    not answer."""
    command = [
        str(Path(sysconfig.get_path("scripts")) / "pip-audit"), "--require-hashes", "--disable-pip",
        "--format=json", "--progress-spinner=off", "--timeout=15", "--requirement",
        str(ROOT / "locks" / f"{lock}.txt"),
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return None
    found: dict[str, list[str]] = {}
    for package in packages:
        if "skip_reason" not in package:
            found[f"{package['name']} {package['version']}"] = [
                each["id"] for each in package["vulns"]
            ]
    return found or None  # a mirror of the registry answers without knowing any


def main() -> int:
    """Print one line for each package with weaknesses; 1 where there is one."""
    known: dict[str, list[str]] = {}
    for lock in LOCKS:
        found = asked(lock)
        if found is None:
            print(
                "audit: the database of known weaknesses could not be reached: nothing was checked"
            )
            return 0
        known |= found
    weak = {name: weaknesses for name, weaknesses in known.items() if weaknesses}
    for name, weaknesses in sorted(weak.items()):
        print(f"{name}: {', '.join(weaknesses)}")
    print(f"audit: {len(weak)} of {len(known)} packages have known weaknesses")
    return 1 if weak else 0


if __name__ == "__main__":
    sys.exit(main())
