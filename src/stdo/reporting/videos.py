"""Which results are of one video: by the fingerprint of its content, not by its file name."""

from collections.abc import Mapping, Sequence

from stdo.core.types import Json
from stdo.evaluation.identity import FINGERPRINT
from stdo.runs.setting import Role
from stdo.runs.settings import flat, role_of

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
    return bool(metrics["video"] == other["video"])


def own_names(results: Sequence[tuple[Json, Json]]) -> list[str]:
    """A name for the video of each result, which no other video of them has.

    One content under several names gets the first of them. Different contents of one name, size,
    length and settings get a part of their fingerprint: ``clip (3f2a91)``. A result without a
    fingerprint keeps its name.

    Args:
        results: The content of metrics.json and the configuration, as nested dicts, of each run.
    """
    found: list[str] = []
    first: dict[tuple[str, str], str] = {}
    for metrics, _ in results:
        key, name = _fingerprint(metrics), str(metrics["video"])
        first[key] = min(first.get(key, name), name)
    for metrics, _ in results:
        key = _fingerprint(metrics)
        found.append(first[key] if key[1] else str(metrics["video"]))

    contents: dict[tuple[object, ...], set[str]] = {}
    places = []
    for (metrics, settings), name in zip(results, found, strict=True):
        rules, content = _fingerprint(metrics)
        places.append((name, rules, *_cut(metrics, settings)))
        contents.setdefault(places[-1], set()).add(content)
    for index, place in enumerate(places):
        content = _fingerprint(results[index][0])[1]
        if content and len(contents[place]) > 1:
            found[index] += f" ({content[:_SHOWN]})"
    return found


def _fingerprint(metrics: Json) -> tuple[str, str]:
    """Version of the conversion and hash of the content; both empty where there is none."""
    rules, _, content = str(metrics.get(FINGERPRINT) or "").partition(" ")
    return (rules, content) if content else ("", "")


def _cut(metrics: Json, settings: Json) -> tuple[object, ...]:
    """Size and length of a video, and which part of a file it is."""
    video = settings.get("video")
    named = flat({"video": video}) if isinstance(video, Mapping) else ()
    part = sorted((name, str(value)) for name, value in named if role_of(name) is not Role.NONE)
    return metrics["width"], metrics["height"], metrics["frames"], *part
