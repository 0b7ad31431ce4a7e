"""What manifest.json tells of a package (docs/package.md), and how much of anything there may be."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from stdo.chunks.grid import PatchGrid
from stdo.core.types import UNMARKED, Colour, Marks
from stdo.video.ticks import Timeline

VERSION = 1
MANIFEST, GRAPH, WEIGHTS, CHUNKS = "manifest.json", "graph.onnx", "weights.bin", "chunks.bin"
STREAMS = ("lr.mp4", "lr.mkv")

# Limits keep a hostile package from filling memory: together they allow for well under 1 GiB.
MAX_SIDE = 16_384
MAX_PIXELS = 2**25  # a frame of 7680x4320; 100 MB as RGB
MAX_FRAMES = 10_000_000
MAX_SECONDS = 10**8  # three years: what is shown later overflows the 64 bits that containers count ticks with
MAX_CHUNKS = 32_767  # labels are int16
MAX_NETWORKS = 4096
MAX_TENSORS = 4096
MAX_WEIGHTS = 2**25  # of all networks together; 128 MiB as float32; the runtime has a budget of its own
MAX_RANGE = 1e6  # of what convolutions read, either way
MAX_RANGES = 2**17  # networks times convolutions
MAX_PATCHES = 2**27  # of the whole video; 256 MiB of labels
MAX_WINDOWS = 2**26  # HR pixels of all windows of one frame; 200 MB as RGB
MAX_BYTES = {MANIFEST: 2**24, GRAPH: 2**20, WEIGHTS: 5 * MAX_WEIGHTS, CHUNKS: 2**28, **dict.fromkeys(STREAMS, 2**40)}

RESIDUALS = ("none", "bicubic")
BITS = (32, 16, 8, 6, 4)
MATRICES = ("bt601", "bt709", "bt2020", "fcc", "smpte240m", "rgb")
FIGURES = ("frame", "pooled", "y")


Range = tuple[float, float]
"""The smallest and the largest number that a convolution reads."""
Ranges = tuple[tuple[Range, ...], ...]
"""Of each network, of each convolution."""


@dataclass(frozen=True, slots=True)
class Source:
    """The video as the viewer sees it.

    width, height: pixels. rate: average frames per second. ticks: when each frame is shown, in units of ``time_base``
    seconds, from 0 on; None: frame t is shown at t / rate. last: seconds that the last frame is shown; None: one
    average interval. marks: what players are told beside the pixels.
    """

    width: int
    height: int
    frames: int
    rate: Fraction
    colour: Colour
    time_base: Fraction | None = None
    ticks: tuple[int, ...] | None = None
    last: Fraction | None = None
    marks: Marks = UNMARKED

    def pts(self, t: int) -> Fraction:
        """When frame ``t`` is shown, in seconds."""
        return t / self.rate if self.ticks is None or self.time_base is None else self.ticks[t] * self.time_base

    def timeline(self, span: range) -> Timeline:
        """When the frames of a stretch are shown, the first of them at 0."""
        last = self.shown(span.stop - 1)
        if self.ticks is None or self.time_base is None:
            return Timeline(range(len(span)), 1 / self.rate, last)
        begin = self.ticks[span.start]
        return Timeline([self.ticks[t] - begin for t in span], self.time_base, last)

    @property
    def seconds(self) -> Fraction:
        """How long the video is."""
        return self.pts(self.frames - 1) + self.shown(self.frames - 1)

    def shown(self, t: int) -> Fraction:
        """For how many seconds frame ``t`` is shown."""
        if t < self.frames - 1:
            return self.pts(t + 1) - self.pts(t)
        return self.last or 1 / self.rate


@dataclass(frozen=True, slots=True)
class Stream:
    """The LR video: its member, size in pixels, how it was encoded, and how many bytes of it are sound."""

    member: str
    width: int
    height: int
    codec: str
    crf: int | None = None
    preset: str | None = None
    audio_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Patches:
    """The patch grid in LR pixels, see `stdo.chunks.grid.PatchGrid`."""

    patch_h: int
    patch_w: int
    halo: int


@dataclass(frozen=True, slots=True)
class Network:
    """The networks: architecture, tensors in the order of weights.bin, how many, and the one that serves each chunk,
    or `stdo.core.types.BICUBIC`.

    reach: how many LR pixels away a pixel still changes the result, see `stdo.models.common.Backbone.reach`.
    residual: what the networks predict, see `stdo.models.common.Backbone`; the graph does what it says.
    ranges: for each network the smallest and the largest number that each of its convolutions reads, over the whole
    video, in the order of their weights in ``params``; None where that was not measured.
    """

    backbone: str
    params: tuple[tuple[str, tuple[int, ...]], ...]
    networks: int
    network_of: tuple[int, ...]
    reach: int
    residual: str = "none"
    ranges: Ranges | None = None

    @property
    def convolutions(self) -> tuple[str, ...]:
        """Names of the convolutions' weights: the tensors with four sides."""
        return tuple(name for name, shape in self.params if len(shape) == 4)


@dataclass(frozen=True, slots=True)
class Figures:
    """What the server measured on the frames that the client made, as docs/protocol.md defines it.

    psnr: ``frame``, ``pooled`` and ``y`` in dB. ssim: None where a side is too short for it.
    """

    psnr: Mapping[str, float]
    ssim: float | None


@dataclass(frozen=True, slots=True)
class Member:
    """Size in bytes and SHA-256 (64 hexadecimal digits) of a member."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that a player has to know before it reads another member.

    quality, bicubic: None until they are measured. members: all but the manifest itself; `write_package` fills it in.
    """

    generator: str
    name: str
    scale: int
    source: Source
    lr: Stream
    grid: Patches
    network: Network
    bits: int
    quality: Figures | None = None
    bicubic: Figures | None = None
    members: Mapping[str, Member] | None = None

    @property
    def patch_grid(self) -> PatchGrid:
        """The grid of the LR frames."""
        return PatchGrid(
            self.lr.height, self.lr.width, self.grid.patch_h, self.grid.patch_w, self.grid.halo, self.scale
        )

    @property
    def names(self) -> tuple[str, ...]:
        """All members in the order in which a package holds them."""
        return MANIFEST, GRAPH, WEIGHTS, CHUNKS, self.lr.member
