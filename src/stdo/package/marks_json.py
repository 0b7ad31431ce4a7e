"""What the manifest says of a source beside its pixels and times; every field is there only where there is a mark."""

from fractions import Fraction
from typing import Any

from stdo.core.types import Json, Marks, Mastering, Projection, Stereo
from stdo.package.fields import Fields
from stdo.video.marks import LAYOUTS, MAX_ASPECT, PROJECTIONS

_ANGLE = 360 << 16
_EYES = ("left", "right")


def to_fields(marks: Marks) -> Json:
    """Fields of ``source`` in the manifest."""
    fields: Json = {}
    if marks.aspect != 1:
        fields["aspect"] = list(marks.aspect.as_integer_ratio())
    if marks.stereo is not None:
        fields["stereo"] = {"layout": marks.stereo.layout, "first": _EYES[marks.stereo.right_first]}
    if marks.projection is not None:
        sphere = marks.projection
        fields["projection"] = {
            "kind": sphere.kind,
            "angles": sphere.angles,
            "bounds": sphere.bounds,
            "padding": sphere.padding,
        }
    if marks.mastering is not None:
        fields["mastering"] = {"primaries": marks.mastering.primaries, "luminance": marks.mastering.luminance}
    if marks.light is not None:
        fields["light"] = marks.light
    return fields


def from_fields(fields: Fields) -> Marks:
    """The marks that are there. Raises UserError for one that is out of its range."""
    found: dict[str, Any] = {}
    if "aspect" in fields.keys:
        found["aspect"] = _aspect(fields)
    if "light" in fields.keys:
        found["light"] = _pair(fields, "light", 65_535)
    for name, read in (("stereo", _stereo), ("projection", _projection), ("mastering", _mastering)):
        if name in fields.keys:
            found[name] = read(fields.part(name))
    return Marks(**found)


def _aspect(fields: Fields) -> Fraction:
    aspect = fields.fraction("aspect")
    good = Fraction(1, MAX_ASPECT) <= aspect <= MAX_ASPECT
    fields.check(good, "aspect", str(aspect), f"from 1/{MAX_ASPECT} to {MAX_ASPECT}")
    return aspect


def _stereo(fields: Fields) -> Stereo:
    stereo = Stereo(fields.one_of("layout", *LAYOUTS), fields.one_of("first", *_EYES) == "right")
    fields.end()
    return stereo


def _projection(fields: Fields) -> Projection:
    kind = fields.one_of("kind", *PROJECTIONS)
    yaw, pitch, roll = fields.wholes("angles", -_ANGLE, _ANGLE, 3, 3)
    left, top, right, bottom = fields.wholes("bounds", 0, 2**32 - 1, 4, 4)
    padding = fields.whole("padding", 0, 2**32 - 1)
    fields.end()
    return Projection(kind, (yaw, pitch, roll), (left, top, right, bottom), padding)


def _mastering(fields: Fields) -> Mastering:
    rx, ry, gx, gy, bx, by, wx, wy = fields.wholes("primaries", 0, 50_000, 8, 8)
    luminance = _pair(fields, "luminance", 2**31 - 1)
    fields.end()
    return Mastering((rx, ry, gx, gy, bx, by, wx, wy), luminance)


def _pair(fields: Fields, key: str, most: int) -> tuple[int, int]:
    first, second = fields.wholes(key, 0, most, 2, 2)
    return first, second
