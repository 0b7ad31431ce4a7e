"""Remove absolute paths from texts before they are published."""

import re
from typing import Any

_PATH = re.compile(
    r"""(?:(?<![^\s=\[\](){},'"|;])|(?<=:)(?!//))(?:file://)?(?:~[\w.-]*)?/+(?:[^/,\]]+/+)*([^/,\]]*)"""
)
"""A path that begins at the root or in a home folder, and its last name. Relative paths stay as
they were typed."""


def published(value: Any) -> Any:
    """Texts, or nested values with texts in them, in which of absolute paths the last name alone is
    kept.

    >>> published(["video.path=/home/me/holiday film.mp4", "cache=~me/cache", "../runs/a.mp4", 3])
    ['video.path=holiday film.mp4', 'cache=cache', '../runs/a.mp4', 3]
    """
    if isinstance(value, str):
        return _PATH.sub(r"\1", value)
    if isinstance(value, dict):
        return {published(key): published(child) for key, child in value.items()}
    return [published(child) for child in value] if isinstance(value, list) else value
