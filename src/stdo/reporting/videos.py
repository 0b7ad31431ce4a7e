"""Which results are of one video: by the fingerprint of its content, not by its file name."""

from collections.abc import Sequence

from stdo.core.types import Json
from stdo.evaluation.identity import FINGERPRINT

RAW = "video_as_named"
"""Where metrics whose ``video`` is a name for the report keep that of metrics.json."""

_SHOWN = 6
"""Hexadecimal digits of a fingerprint that tell two videos of one name apart."""


def same_video(metrics: Json, other: Json) -> bool:
    """Whether two results are of the same frames.

    Args:
        metrics: The content of a metrics.json.
        other: That of another one.

    Returns:
        Whether the fingerprints agree. Where one of them has none, being of an earlier version, or
        its frames were converted by other rules, whether the names do.
    """
    (rules, content), (other_rules, other_content) = map(_fingerprint, (metrics, other))
    if content and other_content and rules == other_rules:
        return content == other_content
    return raw_name(metrics) == raw_name(other)


def raw_name(metrics: Json) -> str:
    """The name of a video in metrics.json, whatever it is called in a report."""
    return str(metrics.get(RAW, metrics["video"]))


def own_names(results: Sequence[Json]) -> list[str]:
    """A name for the video of each result, which no other video of them has.

    One content under several names gets the first of them. Different contents of one name get a
    part of their fingerprint: ``clip (3f2a91)``. So do parts of one file. A result without a
    fingerprint keeps its name.

    Args:
        results: The content of metrics.json of each run.
    """
    first: dict[tuple[str, str], str] = {}
    for metrics in results:
        key, name = _fingerprint(metrics), str(metrics["video"])
        first[key] = min(first.get(key, name), name)
    known = [_fingerprint(metrics) for metrics in results]
    found = [
        first[key] if key[1] else str(metrics["video"])
        for key, metrics in zip(known, results, strict=True)
    ]

    contents: dict[tuple[str, str], set[str]] = {}
    for (rules, content), name in zip(known, found, strict=True):
        contents.setdefault((name, rules), set()).add(content)
    return [
        f"{name} ({content[:_SHOWN]})" if content and len(contents[name, rules]) > 1 else name
        for (rules, content), name in zip(known, found, strict=True)
    ]


def _fingerprint(metrics: Json) -> tuple[str, str]:
    """Version of the conversion and hash of the content; both empty where there is none."""
    rules, _, content = str(metrics.get(FINGERPRINT) or "").partition(" ")
    return (rules, content) if content else ("", "")
