"""Networks on anchor frames alone, as in NEMO: python experiments/trials/anchors.py RUN… — see
docs/decisions/0030-anchor-frames.md.

NEMO (Yeo et al., MobiCom 2020) runs its network on a few anchor frames. Other frames take the SR
pixels of the frame before, moved by the codec's motion vectors, and the enlarged residual of the
codec. This measures what that would save here, on delivered runs with ``degrade.codec``, and
writes anchors.tsv and anchors.png beside this file.

Moving SR and adding the enlarged residual is moving the *detail*, SR less bicubic, and adding it
to the bicubic picture of the frame, up to the filter of the codec's fractions of pixels. So that
is what is done here. Vectors are those of an H.264 stream of the decoded LR frames without B-frames
and with one reference, in which a vector always points to the frame before. The vectors of the
package's own stream point to several frames, and FFmpeg does not say to which. Intra blocks, which
have no vector, lose their detail.
"""

import csv
import sys
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import matplotlib.pyplot as plt
import numpy as np

import stdo
from stdo.core.types import U8, Json
from stdo.player.bicubic import enlarge

HERE = Path(__file__).parent
INTERVALS = (1, 2, 4, 8, 16, 32)
MARGINS = (0.25, 0.5, 1.0)
"""dB that a frame may lose before it becomes an anchor."""


def vectors(lr: Sequence[U8], rate: Fraction) -> Iterator[np.ndarray | None]:
    """The motion vectors of frames, as FFmpeg gives them: a structured array for each frame, None
    for one without.

    Args:
        lr: Frames of uint8 RGB (h, w, 3), even sides.
        rate: Frames per second.
    """
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width = lr[0].shape[:2]
    encoder.pix_fmt, encoder.time_base, encoder.framerate = "yuv420p", 1 / rate, rate
    encoder.options = {
        "crf": "18",
        "preset": "medium",
        "x264-params": "bframes=0:ref=1:weightp=0:scenecut=40",
    }
    packets = []
    for number, rgb_HWC in enumerate(lr):
        frame = av.VideoFrame.from_ndarray(rgb_HWC, format="rgb24")
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoder = av.CodecContext.create("h264", "r")
    decoder.options = {"flags2": "+export_mvs"}
    for packet in [*packets, None]:
        for decoded in decoder.decode(packet):
            data = decoded.side_data.get("MOTION_VECTORS")
            yield None if data is None else data.to_ndarray()


def moved(detail_HWC: np.ndarray, found: np.ndarray | None, scale: int) -> np.ndarray:
    """The detail of the next frame: blocks of this one's, moved; 0 where a block has no vector.

    >>> detail = np.zeros((8, 8, 3), np.int16)
    >>> detail[2, 1] = 7
    >>> kind = [(name, int) for name in ("w", "h", "dst_x", "dst_y", "motion_x", "motion_y")]
    >>> one = np.array([(4, 4, 2, 2, -4, 0, 4)], [*kind, ("motion_scale", int)])
    >>> np.argwhere(moved(detail, one, 2)[..., 0]).tolist()
    [[2, 3]]
    """
    made = np.zeros_like(detail_HWC)
    if found is None:
        return made
    height, width = detail_HWC.shape[:2]
    for each in found:
        w, h = int(each["w"]) * scale, int(each["h"]) * scale
        top, left = int(each["dst_y"]) * scale - h // 2, int(each["dst_x"]) * scale - w // 2
        down = round(int(each["motion_y"]) * scale / int(each["motion_scale"]))
        right = round(int(each["motion_x"]) * scale / int(each["motion_scale"]))
        rows = np.clip(np.arange(top + down, top + down + h), 0, height - 1)
        cols = np.clip(np.arange(left + right, left + right + w), 0, width - 1)
        inside = made[max(top, 0) : top + h, max(left, 0) : left + w]
        block = detail_HWC[rows[:, None], cols]
        block = block[max(-top, 0) :, max(-left, 0) :]
        inside[...] = block[: inside.shape[0], : inside.shape[1]]
    return made


def psnr(a_HWC: U8, b_HWC: U8) -> float:
    """Of two frames, in dB."""
    error = float(np.mean((a_HWC.astype(np.int32) - b_HWC) ** 2))
    return 10 * np.log10(255**2 / max(error, 1e-6))


class Frames:
    """What a viewer of a delivered run has of each frame, and the frame as it was.

    Args:
        directory: Of the run. It has a package, and was trained on a codec's LR video.
    """

    def __init__(self, directory: Path) -> None:
        run = stdo.Run.open(directory)
        (package,) = directory.glob("*.stdo")
        player = stdo.Player(package, threads=1)
        source = player.manifest.source
        video = run.clip.video
        self.name, self.scale = directory.parent.name, player.manifest.scale
        self.lr = list(player.lr.frames())
        started = time.process_time()
        self.sr = [player.frame(lr, player.labels[t]) for t, lr in enumerate(self.lr)]
        self.seconds_network = (time.process_time() - started) / len(self.lr)
        self.hr = [video.hr[t][: source.height, : source.width] for t in range(len(self.lr))]
        self.bicubic = [
            enlarge(lr, self.scale)[: source.height, : source.width].astype(np.int16)
            for lr in self.lr
        ]
        self.vectors = list(vectors(self.lr, source.rate))
        self.full = [psnr(sr, hr) for sr, hr in zip(self.sr, self.hr, strict=True)]

    def reused(self, t: int, detail_HWC: np.ndarray) -> np.ndarray:
        """Frame t from the detail of the frame before, int16, not clipped."""
        return self.bicubic[t] + moved(detail_HWC, self.vectors[t], self.scale)

    def played(self, interval: int | None, margin: float) -> Json:
        """PSNR and share of anchors where each ``interval``-th frame is one, and each that would
        lose more than ``margin`` dB."""
        quality, anchors, tried, seconds = [], 0, 0, 0.0
        frame_HWC = None
        for t in range(len(self.lr)):
            due = frame_HWC is None or (interval is not None and t % interval == 0)
            if not due:
                started = time.process_time()
                frame_HWC = self.reused(t, frame_HWC - self.bicubic[t - 1])
                shown = np.clip(frame_HWC, 0, 255).astype(np.uint8)
                seconds, tried = seconds + time.process_time() - started, tried + 1
                reached = psnr(shown, self.hr[t])
                due = reached < self.full[t] - margin
            if due:
                frame_HWC, reached, anchors = self.sr[t].astype(np.int16), self.full[t], anchors + 1
            quality.append(reached)
        return {
            "video": self.name,
            "interval": interval or "",
            "margin": "" if margin == np.inf else margin,
            "frames": len(self.lr),
            "anchors": anchors,
            "share": round(anchors / len(self.lr), 4),
            "psnr_frame": round(float(np.mean(quality)), 3),
            "loss": round(float(np.mean(self.full) - np.mean(quality)), 3),
            "worst_loss": round(float(np.max(np.subtract(self.full, quality))), 3),
            "gain": round(float(np.mean(self.full)) - self.of_bicubic, 3),
            "seconds_network": round(self.seconds_network, 4),
            "seconds_reused": round(seconds / tried, 4) if tried else "",
        }

    @property
    def of_bicubic(self) -> float:
        """Mean PSNR of bicubic enlargement in dB."""
        pictures = (np.clip(frame, 0, 255).astype(np.uint8) for frame in self.bicubic)
        return float(np.mean([psnr(*each) for each in zip(pictures, self.hr, strict=True)]))


def main(folders: list[str]) -> None:
    """Measure the runs in these folders, write the table and draw it."""
    rows: list[Json] = []
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for folder in folders:
        frames = Frames(Path(folder))
        found = [frames.played(interval, np.inf) for interval in INTERVALS]
        found += [frames.played(None, margin) for margin in MARGINS]
        for row in found:
            print(*row.values(), sep="\t", flush=True)
        rows += found
        every = [row for row in found if row["interval"]]
        (line,) = axes.plot(
            [row["share"] for row in every],
            [row["gain"] - row["loss"] for row in every],
            marker="o",
            label=f"{frames.name.partition('_')[0]}, every n-th frame",
        )
        chosen = [row for row in found if not row["interval"]]
        axes.plot(
            [row["share"] for row in chosen],
            [row["gain"] - row["loss"] for row in chosen],
            linestyle="none",
            marker="x",
            color=line.get_color(),
            label="anchors by loss",
        )
    axes.axhline(0, color="grey", linewidth=1)
    axes.set(xlabel="share of frames that the networks compute", ylabel="dB over bicubic", xlim=0)
    axes.legend(fontsize="small", frameon=False)
    figure.savefig(HERE / "anchors.png", dpi=100)
    with (HERE / "anchors.tsv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
