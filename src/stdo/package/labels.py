"""chunks.bin: the chunk of every patch, predicted from the frame before and range-coded.

A label is coded as a change against the same patch's label one frame earlier: none, one up, one
down, or another (then the label itself follows). How likely each is comes from counts that both
sides keep alike, apart for patches that last changed upwards, downwards or never, and by how long
ago; a patch near a threshold flickers, most others stay.

Labels are coded in segments of up to `SPAN` frames that do not know of each other, so that a player
can start anywhere and holds one segment at a time.
"""

import numpy as np

from stdo.core.types import F64, I16, I64, UserError
from stdo.package.coding import (
    TABLES,
    Symbols,
    damaged,
    encoder,
    join,
    packed,
    split,
    uniform,
    unpacking,
)

NAME = "chunks.bin"
SPAN = 256
"""Frames in a segment. A segment learns anew, which costs 1 to 2 % of its bytes at this length."""

MOST_LABELS = 1 << 20
"""Labels in one segment: bounds the memory of the decoder. Segments of huge frames are shorter."""

SAME, UP, DOWN, OTHER = range(4)
AGES = (1, 3, 8, 24)
"""Frames since a patch last changed, as steps of the context."""

FIRST = (400, 25, 25, 1)
"""Counts that every context begins with, from real clips. A change counts `LEARN`."""
LEARN = 50
FORGET = 256 * LEARN
"""Counts above this are halved, so that a scene's end is soon forgotten."""


class Labels:
    """The labels of a package, read segment by segment: ``labels[t]`` is int16 (rows, cols), each
    below ``chunks``.

    Args:
        data: What `encode` wrote.
        shape: (T, rows, cols).

    Raises:
        UserError: At once or when the segment is first needed, where the data does not hold such
            labels.
    """

    def __init__(self, data: bytes | memoryview, shape: tuple[int, int, int], chunks: int) -> None:
        frames, self._rows, self._cols = shape
        self._frames, self._chunks, self._span = frames, chunks, _span(self._rows * self._cols)
        if min(shape) < 1 or self._rows * self._cols > MOST_LABELS:
            raise UserError(
                f"labels of shape {shape}: must be 1 or more each, at most {MOST_LABELS} in a frame"
            )
        if not 1 <= chunks <= np.iinfo(np.int16).max:
            raise UserError(f"chunks={chunks}: must be from 1 to {np.iinfo(np.int16).max}")
        expected = -(-frames // self._span)
        self._segments = [blob for blob, _ in split(data, NAME, expected)]
        if len(self._segments) != expected:
            raise damaged(NAME, f"{len(self._segments)} segments cannot hold {frames} frames")
        self._held = -1
        self._labels: I16

    def __len__(self) -> int:
        return self._frames

    def __getitem__(self, t: int) -> I16:
        if not 0 <= t < self._frames:
            raise IndexError(t)
        segment, within = divmod(t, self._span)
        if segment != self._held:
            count = min(self._span, self._frames - segment * self._span)
            labels = _decode_segment(
                self._segments[segment], (count, self._rows * self._cols), self._chunks
            )
            self._held, self._labels = segment, labels.reshape(count, self._rows, self._cols)
        frame: I16 = self._labels[within]
        return frame


def encode(labels_TRC: I16, chunks: int) -> bytes:
    """Code labels (T, rows, cols), each from 0 to ``chunks`` - 1."""
    assert labels_TRC.size and labels_TRC.min() >= 0 and labels_TRC.max() < chunks, (
        labels_TRC.shape,
        chunks,
    )
    labels_TP = labels_TRC.reshape(len(labels_TRC), -1).astype(np.int64)
    assert labels_TP.shape[1] <= MOST_LABELS, labels_TP.shape
    span = _span(labels_TP.shape[1])
    return join(
        [_encode_segment(labels_TP[t : t + span], chunks) for t in range(0, len(labels_TP), span)]
    )


def decode(data: bytes, shape: tuple[int, int, int], chunks: int) -> I16:
    """All labels at once, int16 (T, rows, cols); see `Labels`."""
    labels = Labels(data, shape, chunks)
    return np.stack([labels[t] for t in range(len(labels))])


def _span(patches: int) -> int:
    return max(1, min(SPAN, MOST_LABELS // max(1, patches)))


class _Context:
    """What is known of every patch of a segment before its next label. Encoder and decoder keep the
    same one."""

    def __init__(self, labels_P: I64, chunks: int) -> None:
        self.labels_P, self._last = labels_P, chunks - 1
        self._age_P = np.full(len(labels_P), AGES[-1], np.int64)
        # Of the last change: 0 none, 1 up, 2 down
        self._direction_P = np.zeros(len(labels_P), np.int64)
        self._counts = np.tile(np.array(FIRST, np.int64), (3 * (len(AGES) + 1), 1))

    def _number_P(self) -> I64:
        return self._direction_P * (len(AGES) + 1) + np.digitize(self._age_P, AGES)

    def odds(self) -> F64:
        """Odds of SAME, UP, DOWN and OTHER for every patch, (P, 4); 0 for a label that does not
        exist."""
        odds, labels_P = self._counts[self._number_P()].astype(np.float64), self.labels_P
        odds[:, UP] *= labels_P < self._last
        odds[:, DOWN] *= labels_P > 0
        odds[:, OTHER] *= (labels_P > 1) | (labels_P < self._last - 1)
        return odds

    def learn(self, change_P: Symbols, labels_P: I64) -> None:
        """Take in the labels of the next frame and how they were reached."""
        number_P = self._number_P()
        np.add.at(self._counts, (number_P, change_P), LEARN)
        full = self._counts.sum(axis=1) > FORGET
        self._counts[full] = (self._counts[full] + 1) // 2
        self._age_P = np.where(change_P == SAME, self._age_P + 1, 0)
        direction_P = np.where(labels_P > self.labels_P, 1, 2)
        self._direction_P = np.where(change_P == SAME, self._direction_P, direction_P)
        self.labels_P = labels_P


def _encode_segment(labels_TP: I64, chunks: int) -> bytes:
    coder = encoder()
    if chunks > 1:  # one chunk needs no bits
        any_label = uniform(chunks)
        coder.encode(labels_TP[0].astype(np.int32), any_label)
        context = _Context(labels_TP[0], chunks)
        for labels_P in labels_TP[1:]:
            step_P = labels_P - context.labels_P
            change_P = np.select(
                [step_P == 0, step_P == 1, step_P == -1], [SAME, UP, DOWN], OTHER
            ).astype(np.int32)
            coder.encode(change_P, TABLES, context.odds())
            coder.encode(labels_P[change_P == OTHER].astype(np.int32), any_label)
            context.learn(change_P, labels_P)
    return packed(coder)


def _decode_segment(data: bytes | memoryview, shape: tuple[int, int], chunks: int) -> I16:
    labels_TP = np.zeros(shape, np.int64)
    with unpacking(data, NAME) as decoder:
        if chunks > 1:
            any_label = uniform(chunks)
            labels_TP[0] = decoder.decode(any_label, shape[1])
            context = _Context(labels_TP[0], chunks)
            for labels_P in labels_TP[1:]:
                change_P = decoder.decode(TABLES, context.odds())
                labels_P[:] = context.labels_P + (change_P == UP) - (change_P == DOWN)
                other_P = change_P == OTHER
                labels_P[other_P] = decoder.decode(any_label, int(other_P.sum()))
                context.learn(change_P, labels_P)
    # A code of odds 0 can be read, but was not written
    if labels_TP.min() < 0 or labels_TP.max() >= chunks:
        raise damaged(NAME, f"a label is not below {chunks}")
    return labels_TP.astype(np.int16)
