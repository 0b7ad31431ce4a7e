"""Ask the database of known weaknesses about every locked package (``make audit``)."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKS = ("build", "dev", "cuda", "fuzz", "tools")


def asked(lock: str) -> dict[str, list[str]] | None:
    """Weaknesses of the packages of a lock, by package and version; None where the database does not answer."""
    command = [
        str(Path(sysconfig.get_path("scripts")) / "pip-audit"), "--require-hashes", "--disable-pip", "--format=json",
        "--progress-spinner=off", "--timeout=15", "--requirement", str(ROOT / "locks" / f"{lock}.txt"),
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print((done.stderr.strip().splitlines() or ["no answer"])[-1][:300], file=sys.stderr)
        return None
    named = {f"{each['name']} {each.get('version')}": each.get("vulns", []) for each in packages}
    return {name: [one["id"] for one in found] for name, found in named.items() if found}


def main() -> int:
    """Print one line for each weakness; 1 where there is one."""
    weak: dict[str, list[str]] = {}
    for lock in LOCKS:
        found = asked(lock)
        if found is None:
            print(f"audit: the database of weaknesses could not be reached for locks/{lock}.txt: nothing was checked")
            return 0
        weak |= found
    for name, weaknesses in sorted(weak.items()):
        print(f"{name}: {', '.join(weaknesses)}")
    print(f"audit: {len(weak)} packages with known weaknesses")
    return 1 if weak else 0


if __name__ == "__main__":
    sys.exit(main())
