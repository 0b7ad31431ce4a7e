"""The player's memory budget, and how its parts share it.

    limit = 1 GiB + 128 MiB for each thread beyond four
                  + 32 bytes for each pixel beyond a frame of 4K

Two processes share it (docs/decisions/0022): one decodes and computes, the other encodes. What the
encoder takes depends on its settings alone, so these follow the size of the frames: x264 keeps some
30 frames to look ahead, which is 300 MiB at 1080p and would be 4 GiB at 22 million pixels. Frames
up to `ORDINARY` are encoded as ever.
"""

_MIB = 1 << 20
_THREADS, _PER_THREAD = 4, 128 * _MIB
_PIXELS, _PER_PIXEL = 4096 * 2160, 32

ORDINARY = 2_500_000
"""Pixels up to which the encoder has its usual settings."""
_BASE = 64 * _MIB
"""Of the process that encodes, before the first frame: Python, numpy and FFmpeg."""
_HELD = 128 * _MIB
"""Of finished frames that wait; two at least."""

_DECODER = 160 * _MIB
"""Of the process that decodes, beside what follows: Python, OpenVINO, and what is unused between
allocations."""
_PER_LR_PIXEL = 40
"""Of the LR decoder: the frames that it refers to and those of its threads, and one in RGB."""
_PER_THREAD_COMPUTING = 20 * _MIB
"""Of a thread: its stack, the padded patches of its frame and the patches made of them."""
_NETWORKS, _NETWORKS_PER_THREAD = 384 * _MIB, 96 * _MIB
"""Of networks at most, even where more is left: more of them ready makes nothing quicker."""
VIEWER = 4
"""Threads on which every package plays: what a padded patch may need does not depend on who packs
it, and on what."""

_LEAN = "sync-lookahead=0:bframes=0:ref=1:sliced-threads=1"
_TIERS = (
    (ORDINARY, "", 150),
    (4_500_000, "rc-lookahead=10", 75),
    (12_000_000, f"rc-lookahead=0:{_LEAN}", 25),
    (1 << 26, f"rc-lookahead=0:{_LEAN}:subme=0:mbtree=0:weightp=0", 18),
)
"""Pixels up to which x264 has some settings, and the bytes that it takes for a pixel then, as
measured."""
_ENCODER_THREADS = 6


def limit(pixels: int, threads: int) -> int:
    """Bytes that all processes of a player may take together.

    Args:
        pixels: Of a frame that is shown.
        threads: Frames that are computed at once.
    """
    more_threads, more_pixels = max(0, threads - _THREADS), max(0, pixels - _PIXELS)
    return (1 << 30) + _PER_THREAD * more_threads + _PER_PIXEL * more_pixels


def encoder_options(pixels: int, threads: int) -> dict[str, str]:
    """Options of x264 that keep it within its share."""
    settings = _tier(pixels)[1]
    options = {"threads": str(min(_ENCODER_THREADS, max(1, threads * 3 // 2)))}
    return options | ({"x264-params": settings} if settings else {})


def of_encoder(pixels: int) -> int:
    """Bytes that the process takes that encodes: itself, x264, and two copies of a frame on their
    way to it."""
    return _BASE + (_tier(pixels)[2] + 6) * pixels


def of_decoder(pixels: int, threads: int) -> int:
    """Bytes that the process may take that decodes and computes, without the frames that it
    shares."""
    return limit(pixels, threads) - of_encoder(pixels) - frames_held(pixels, threads) * 3 * pixels


def of_networks(pixels: int, lr_pixels: int, threads: int) -> int:
    """Bytes that the steps of networks may hold in that process; where one padded patch needs more,
    nothing plays.

    Args:
        pixels: Of a frame that is shown.
        lr_pixels: Of a frame of the LR stream.
        threads: Frames that are computed at once.
    """
    frames = frames_held(pixels, threads) * 3 * lr_pixels
    rest = _DECODER + _PER_LR_PIXEL * lr_pixels + threads * _PER_THREAD_COMPUTING + frames
    return min(of_decoder(pixels, threads) - rest, max(_NETWORKS, threads * _NETWORKS_PER_THREAD))


def frames_held(pixels: int, threads: int) -> int:
    """How many finished frames, or frames in the making, there may be at once."""
    return max(2, min(2 * threads + 1, _HELD // (3 * pixels)))


def _tier(pixels: int) -> tuple[int, str, int]:
    return next(tier for tier in _TIERS if pixels <= tier[0])
