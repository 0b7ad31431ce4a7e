"""The video's entry in the manifest: size, times, colour, marks."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from msgspec import UNSET, Meta, UnsetType, field
from msgspec.structs import astuple

from stdo.core.types import UNMARKED, Colour, Marks, Mastering, Projection, Stereo
from stdo.package.limits import MAX_FRAMES, MAX_PIXELS, MAX_SECONDS, Part, Rule, Side, matching
from stdo.video.marks import LAYOUTS, MAX_ASPECT, PROJECTIONS
from stdo.video.ticks import Timeline

if TYPE_CHECKING:  # mypy reads no Literal of names that are listed elsewhere
    _Layout = str
    _Kind = str
else:
    _Layout, _Kind = Literal[LAYOUTS], Literal[PROJECTIONS]
_Told = TypeVar("_Told", bound=Part)
_Tag = Annotated[str, matching("[a-z0-9-]{1,40}")]
_Tick = Annotated[int, Meta(ge=0, le=2**62)]
_Angle = Annotated[int, Meta(ge=-(360 << 16), le=360 << 16)]
_Share = Annotated[int, Meta(ge=0, le=2**32 - 1)]
_Primary = Annotated[int, Meta(ge=0, le=50_000)]
_Luminance = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_Light = Annotated[int, Meta(ge=0, le=65_535)]


class Times(Part, frozen=True):
    """When each frame is shown: its tick of ``time_base`` seconds, from 0 on."""

    time_base: Fraction
    ticks: Annotated[tuple[_Tick, ...], Meta(max_length=MAX_FRAMES)]


class _Colour(Part, frozen=True):
    matrix: Literal["bt601", "bt709", "bt2020", "fcc", "smpte240m", "rgb"]
    range: Literal["limited", "full"]
    primaries: _Tag
    transfer: _Tag


class _Stereo(Part, frozen=True):
    layout: _Layout
    first: Literal["left", "right"]


class _Projection(Part, frozen=True):
    kind: _Kind
    angles: tuple[_Angle, _Angle, _Angle]
    bounds: tuple[_Share, _Share, _Share, _Share]
    padding: _Share


class _Mastering(Part, frozen=True):
    primaries: tuple[_Primary, _Primary, _Primary, _Primary, _Primary, _Primary, _Primary, _Primary]
    luminance: tuple[_Luminance, _Luminance]


class Source(Part, frozen=True):
    """The video as the viewer sees it; `of` makes one.

    Attributes:
        width: Pixels of the frames that are shown.
        height: Pixels as well.
        frames: How many.
        rate: Average frames per second.
        times: When each frame is shown; None: frame t is shown at t / rate.
        last: Seconds that the last frame is shown; unset: one average interval.
    """

    width: Side
    height: Side
    frames: Annotated[int, Meta(ge=1, le=MAX_FRAMES)]
    rate: Fraction
    times: Times | None
    told_colour: _Colour = field(name="colour")
    last: Fraction | UnsetType = UNSET
    # A mark that is not there has no field, so that players of before read the package.
    aspect: Fraction | UnsetType = UNSET
    stereo: _Stereo | UnsetType = UNSET
    projection: _Projection | UnsetType = UNSET
    mastering: _Mastering | UnsetType = UNSET
    light: tuple[_Light, _Light] | UnsetType = UNSET

    @classmethod
    def of(
        cls,
        width: int,
        height: int,
        frames: int,
        rate: Fraction,
        colour: Colour,
        times: Times | None = None,
        last: Fraction | None = None,
        marks: Marks = UNMARKED,
    ) -> "Source":
        """Make one of the values that the rest of the project has; see the attributes. Nothing is
        checked yet.

        Args:
            width: Pixels.
            height: Pixels.
            frames: How many.
            rate: Frames per second.
            colour: That of the source; whether it was assumed is not told.
            times: When each frame is shown.
            last: Seconds that the last frame is shown; None: one average interval.
            marks: What players are told beside the pixels.

        Returns:
            What the manifest tells.
        """
        fields: dict[str, Any] = {}
        if last is not None:
            fields["last"] = last
        if marks.aspect != 1:
            fields["aspect"] = marks.aspect
        if marks.stereo:
            fields["stereo"] = _Stereo(
                marks.stereo.layout, "right" if marks.stereo.right_first else "left"
            )
        if marks.projection:
            fields["projection"] = _told(_Projection, marks.projection)
        if marks.mastering:
            fields["mastering"] = _told(_Mastering, marks.mastering)
        if marks.light:
            fields["light"] = marks.light
        return cls(width, height, frames, rate, times, _told(_Colour, colour), **fields)

    @property
    def colour(self) -> Colour:
        """How the source's samples were turned into RGB."""
        return Colour(*astuple(self.told_colour))

    @property
    def marks(self) -> Marks:
        """What players are told beside the pixels."""
        stereo = projection = mastering = None
        if self.stereo:
            stereo = Stereo(self.stereo.layout, self.stereo.first == "right")
        if self.projection:
            projection = Projection(*astuple(self.projection))
        if self.mastering:
            mastering = Mastering(*astuple(self.mastering))
        return Marks(self.aspect or Fraction(1), stereo, projection, mastering, self.light or None)

    def pts(self, t: int) -> Fraction:
        """When frame ``t`` is shown, in seconds."""
        return self.times.ticks[t] * self.times.time_base if self.times else t / self.rate

    def timeline(self, span: range) -> Timeline:
        """When the frames of a stretch are shown, the first of them at 0."""
        last = self.shown(span.stop - 1)
        if not self.times:
            return Timeline(range(len(span)), 1 / self.rate, last)
        begin = self.times.ticks[span.start]
        return Timeline([self.times.ticks[t] - begin for t in span], self.times.time_base, last)

    @property
    def seconds(self) -> Fraction:
        """How long the video is."""
        return self.pts(self.frames - 1) + self.shown(self.frames - 1)

    def shown(self, t: int) -> Fraction:
        """For how many seconds frame ``t`` is shown."""
        if t < self.frames - 1:
            return self.pts(t + 1) - self.pts(t)
        return self.last or 1 / self.rate

    def rules(self) -> Iterator[Rule]:
        """What its fields must keep together; each rule holds only where those before it do."""
        pixels = self.width * self.height
        yield pixels <= MAX_PIXELS, "source.width·height", pixels, f"at most {MAX_PIXELS}"
        aspect = self.aspect or Fraction(1)
        allowed = f"from 1/{MAX_ASPECT} to {MAX_ASPECT}"
        yield Fraction(1, MAX_ASPECT) <= aspect <= MAX_ASPECT, "source.aspect", str(aspect), allowed
        if self.times:
            ticks, field = self.times.ticks, "source.times.ticks"
            yield len(ticks) == self.frames, field, len(ticks), f"{self.frames}, one for each frame"
            yield (
                ticks[0] == 0 and all(a < b for a, b in pairwise(ticks)),
                field,
                ticks,
                "rising, from 0 on",
            )
        allowed = f"at most {MAX_SECONDS} seconds"
        yield self.seconds <= MAX_SECONDS, "source.times, rate", float(self.seconds), allowed


def _told(kind: type[_Told], value: Any) -> _Told:
    """One of our values as the manifest tells it: what has the same names."""
    return kind(*(getattr(value, name) for name in kind.__struct_fields__))
