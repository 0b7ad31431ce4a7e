"""What a tracker keeps of a run between two starts of a command."""

import hashlib
import json
from pathlib import Path

from stdo.core.files import atomic
from stdo.core.foreign import parse_json, read_below
from stdo.core.types import Json

_BYTES = 1 << 20


class Memory:
    """A small JSON file in the tracker's folder of the run directory. Damaged or missing, it is
    empty."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "stdo.json"
        try:
            content = read_below(folder, self._path.name, _BYTES)
            self.facts: Json = dict(parse_json(content, str(self._path)))
        except (OSError, ValueError, TypeError):
            self.facts = {}

    def keep(self, **facts: object) -> None:
        """Remember more."""
        self.facts |= facts
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(self._path) as partial:
            partial.write_text(json.dumps(self.facts, indent=2), encoding="utf-8")

    def clear(self) -> None:
        """Forget everything."""
        self.facts = {}
        self._path.unlink(missing_ok=True)

    def told(self, metrics: Json) -> bool:
        """Whether exactly this result was told."""
        return self.facts.get("told") == _digest(metrics)

    def keep_told(self, metrics: Json) -> None:
        """Remember that this result was told."""
        self.keep(told=_digest(metrics))


def _digest(metrics: Json) -> str:
    return hashlib.blake2b(json.dumps(metrics, sort_keys=True).encode(), digest_size=8).hexdigest()
