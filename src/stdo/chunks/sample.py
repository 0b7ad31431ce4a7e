"""Samplers: which patches each step shows. They yield numbers of patches, never pixels."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from stdo.chunks.cuts import Cuts
from stdo.core.types import F32, I64, Json, UserError

MAX_STEPS = 10**8
"""Most steps of a fit: a week of the quickest network; samplers may keep a list of them."""

State = dict[str, npt.NDArray[Any]]
"""What resumes an `Observer`: arrays by name."""


class Observer(Protocol):
    """Of a sampler whose draws depend on what training makes of the patches."""

    def note(self, patch_B: I64, error_B: F32) -> None:
        """Take down what a step made of its patches.

        Args:
            patch_B: Their numbers, int64 (B,), or some of them.
            error_B: The mean squared error of each, float32 (B,), with pixels in [0, 1].
        """

    def state(self) -> State:
        """What a fit needs to resume here."""
        ...

    def restore(self, state: State) -> None:
        """Resume where `state` was taken. Raises UserError where it is that of another video."""

    def chunk_presentations(self, label_N: I64 | None = None) -> list[int]:
        """See `Sampler.chunk_presentations`: of the steps that are noted."""
        ...


class Sampler(ABC):
    """Shows patches to learners: the sets of weights that are trained side by side.

    Each step shows ``batch`` patches to ``at_once`` learners: to all of them (`SIDE_BY_SIDE`), so
    that a fit of k networks is k separate fits side by side, or to one. The number of presentations
    is the same for every method (equal work): ``passes`` times the number of patches. Which patches
    a step shows depends on nothing but ``seed`` and the step's number, so a fit can resume
    anywhere; but for an `online` sampler, which keeps a state.

    Args:
        label_N: The chunk of each patch, int64 (N,).
        learner_N: The learner that learns from each patch, int64 (N,).
        batch: Patches per learner and step.
        passes: Presentations as a multiple of N; may be a fraction.
    """

    SIDE_BY_SIDE: ClassVar[bool] = True
    OFF_GRID: ClassVar[bool] = False
    """Whether it shows other parts of frames than the grid's patches: it takes ``grid``, and has
    `cuts`."""

    worth: Fraction | int = 1
    """Presentations that one shown picture counts as: its LR pixels over a patch's."""

    def __init__(
        self, label_N: I64, learner_N: I64, *, batch: int, passes: float, seed: int
    ) -> None:
        if batch < 1:
            raise UserError(f"budget.batch={batch}: must be 1 or more")
        if not 0 < passes < math.inf:
            raise UserError(f"budget.passes={passes}: must be more than 0")
        self.batch_size, self.seed = batch, seed
        self.label_N, self.learner_N = label_N, learner_N
        self.learners = int(learner_N.max()) + 1
        self.at_once = self.learners if self.SIDE_BY_SIDE else 1
        self.steps = max(1, round(passes * len(label_N) / (self.shown * self.worth)))
        if self.steps > MAX_STEPS:
            most = float(MAX_STEPS * self.shown * self.worth / len(label_N))
            raise UserError(
                f"budget.passes={passes:g}: must be at most {most:.3g} for this video, "
                f"{MAX_STEPS:,} steps"
            )

    @property
    def shown(self) -> int:
        """Patches, or other pictures, shown in one step."""
        return self.batch_size * self.at_once

    def presented(self, steps: int) -> int:
        """The presentations of so many steps: patches seen, others by their pixels."""
        return round(steps * self.shown * self.worth)

    @property
    def presentations(self) -> int:
        """The presentations of the whole fit."""
        return self.presented(self.steps)

    def chunk_presentations(self, label_N: I64 | None = None) -> list[int]:
        """The presentations of each chunk. label_N: the chunk of each patch; None: as it
        samples."""
        label_N = self.label_N if label_N is None else label_N
        counts = np.zeros(int(label_N.max()) + 1, np.int64)
        for step in range(self.steps):
            counts += np.bincount(label_N[self.batch(step)], minlength=len(counts))
        # Rounded where chunks end, so that their sum is that of the fit
        ends = [round(int(end) * self.worth) for end in np.cumsum(counts)]
        return [end - before for before, end in zip([0, *ends], ends, strict=False)]

    def cuts(self, step: int) -> Cuts | None:  # noqa: ARG002
        """Where the pictures of a step lie, in the order of `batch`; None: they are the patches."""
        return None

    def learner_steps(self) -> list[int]:
        """How many steps each learner takes: all of them, or those that show it patches."""
        if self.at_once == self.learners:
            return [self.steps] * self.learners
        first = [int(self.learner_N[self.batch(step)[0]]) for step in range(self.steps)]
        return [int(count) for count in np.bincount(first, minlength=self.learners)]

    @property
    def facts(self) -> Json:
        """What of the sampling belongs into metrics.json."""
        return {}

    @property
    def online(self) -> Observer | None:
        """What is told of each step what it made of its patches; None where draws do not depend
        on it."""
        return None

    def waits(self, step: int) -> bool:  # noqa: ARG002
        """Whether the patches of a step cannot be drawn before the step before it is done."""
        return False

    @abstractmethod
    def batch(self, step: int) -> I64:
        """Numbers of the patches of one step, int64 (at_once · batch,), learner after learner."""


class _ByLearner(Sampler):
    """Draws for each learner by itself; each step shows patches to all of them."""

    def batch(self, step: int) -> I64:
        """See `Sampler.batch`."""
        assert 0 <= step < self.steps, step
        return np.concatenate([self._draw(learner, step) for learner in range(self.learners)])

    @abstractmethod
    def _draw(self, learner: int, step: int) -> I64:
        """Numbers of the patches that one learner is shown in a step of its own, int64 (batch,)."""


class Decks(_ByLearner):
    """Patches in random order, each once, then in a new order: like cards of a deck that is
    shuffled each turn."""

    def __init__(
        self, label_N: I64, learner_N: I64, *, batch: int, passes: float, seed: int
    ) -> None:
        super().__init__(label_N, learner_N, batch=batch, passes=passes, seed=seed)
        self._order = lru_cache(maxsize=2 * self.learners)(self._shuffled)

    @abstractmethod
    def _deck(self, learner: int, turn: int) -> I64:
        """The patches of one turn, as many in each."""

    def _draw(self, learner: int, step: int) -> I64:
        size = len(self._order(learner, 0))
        turns, places = np.divmod(
            np.arange(step * self.batch_size, (step + 1) * self.batch_size), size
        )
        return np.concatenate(
            [self._order(learner, int(turn))[places[turns == turn]] for turn in np.unique(turns)]
        )

    def _shuffled(self, learner: int, turn: int) -> I64:
        return np.random.default_rng((self.seed, learner, turn)).permutation(
            self._deck(learner, turn)
        )


class Uniform(Decks):
    """Every patch equally often, in a new random order each pass."""

    def __init__(
        self, label_N: I64, learner_N: I64, *, batch: int, passes: float, seed: int
    ) -> None:
        super().__init__(label_N, learner_N, batch=batch, passes=passes, seed=seed)
        self._members = [np.flatnonzero(learner_N == learner) for learner in range(self.learners)]
        assert all(len(members) for members in self._members), "a learner without patches"

    def _deck(self, learner: int, turn: int) -> I64:  # noqa: ARG002
        return self._members[learner]


class Ratios(Decks):
    """JSTDO's joint set (paper section 3.3, Eq. 2): a share of each chunk, usually all of chunk 0,
    none of the last.

    Args:
        ratios: The share ρ of each chunk's patches, 0 to 1; None takes `decay` with ``factor``.
        size: µ, the size of the joint set: a whole number of patches, or, as a fraction up to 1.0,
            a share of the video's. It scales the ratios of the middle chunks, none above 1; the
            first and the last keep theirs. None: as they come.
        resample: Draw the random subset anew each pass over it, instead of once (the paper).
    """

    def __init__(
        self,
        label_N: I64,
        learner_N: I64,
        *,
        batch: int,
        passes: float,
        seed: int,
        ratios: Sequence[float] | None = None,
        factor: float = 0.5,
        size: float | None = None,
        resample: bool = False,
    ) -> None:
        super().__init__(label_N, learner_N, batch=batch, passes=passes, seed=seed)
        self._chunks = [np.flatnonzero(label_N == label) for label in range(int(label_N.max()) + 1)]
        asked = decay(len(self._chunks), factor) if ratios is None else list(map(float, ratios))
        if len(asked) != len(self._chunks):
            raise UserError(
                f"sampler.ratios={asked}: must be {len(self._chunks)} numbers, one for each chunk"
            )
        self.counts = joint_counts([len(chunk) for chunk in self._chunks], asked, size)
        self.resample = resample
        shown = {
            int(learner_N[chunk[0]])
            for chunk, count in zip(self._chunks, self.counts, strict=True)
            if count
        }
        idle = sorted(set(range(self.learners)) - shown)
        if idle:
            raise UserError(
                f"sampler.ratios={asked}: network {idle[0]} would see no patch; use sharing=single"
            )

    @property
    def facts(self) -> Json:
        """The ratios as they came out, and the size of the joint set in patches (µ)."""
        ratios = [
            count / len(chunk) for chunk, count in zip(self._chunks, self.counts, strict=True)
        ]
        return {"ratios": ratios, "joint_size": sum(self.counts)}

    def _deck(self, learner: int, turn: int) -> I64:
        drawn = turn if self.resample else 0
        parts = [
            np.random.default_rng((self.seed, label, drawn, 1)).permutation(chunk)[:count]
            for label, (chunk, count) in enumerate(zip(self._chunks, self.counts, strict=True))
            if self.learner_N[chunk[0]] == learner
        ]
        return np.concatenate(parts)


class Weighted(_ByLearner):
    """Every patch may be drawn at any time, with replacement, those of some chunks more often
    (weighted JSTDO).

    Args:
        weights: Of one patch of each chunk, 0 or more, on any scale; None: falling evenly from
            chunk 0 to the last.
    """

    def __init__(
        self,
        label_N: I64,
        learner_N: I64,
        *,
        batch: int,
        passes: float,
        seed: int,
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(label_N, learner_N, batch=batch, passes=passes, seed=seed)
        self._chunks = [np.flatnonzero(label_N == label) for label in range(int(label_N.max()) + 1)]
        count = len(self._chunks)
        self.weights = list(map(float, range(count, 0, -1) if weights is None else weights))
        if len(self.weights) != count:
            raise UserError(
                f"sampler.weights={self.weights}: must be {count} numbers, one for each chunk"
            )
        mass_C = np.array(
            [w * len(chunk) for w, chunk in zip(self.weights, self._chunks, strict=True)]
        )
        learner_C = np.array([learner_N[chunk[0]] for chunk in self._chunks])
        mass_LC = np.where(learner_C == np.arange(self.learners)[:, None], mass_C, 0.0)
        if not mass_LC.sum(1).all():
            idle = int(np.flatnonzero(mass_LC.sum(1) == 0)[0])
            raise UserError(
                f"sampler.weights={self.weights}: network {idle} would see no patch; use "
                "sharing=single"
            )
        self._share_LC = mass_LC / mass_LC.sum(1, keepdims=True)

    @property
    def facts(self) -> Json:
        """The weight of a patch of each chunk."""
        return {"weights": self.weights}

    def _draw(self, learner: int, step: int) -> I64:
        rng = np.random.default_rng((self.seed, learner, step))
        labels = rng.choice(len(self._chunks), self.batch_size, p=self._share_LC[learner])
        return np.array([rng.choice(self._chunks[label]) for label in labels])


class First(Ratios):
    """All of the first chunk's patches, none of the others'."""

    def __init__(
        self, label_N: I64, learner_N: I64, *, batch: int, passes: float, seed: int
    ) -> None:
        ratios = [1.0] + [0.0] * int(label_N.max())
        super().__init__(label_N, learner_N, batch=batch, passes=passes, seed=seed, ratios=ratios)


def decay(chunks: int, factor: float = 0.5) -> list[float]:
    """Ratios for any number of chunks: 1, factor, factor², … and 0 for the last; a single chunk is
    shown whole.

    >>> decay(4), decay(2), decay(1)
    ([1.0, 0.5, 0.25, 0.0], [1.0, 0.0], [1.0])
    """
    if chunks == 1:
        return [1.0]
    return [*(factor**i for i in range(chunks - 1)), 0.0]


def joint_counts(
    sizes: Sequence[int], ratios: Sequence[float], size: float | None = None
) -> list[int]:
    """Patches that each chunk gives to the joint set, ``|ρ_i ⊙ D_i|`` (paper, Eq. 2).

    Args:
        sizes: Patches of each chunk.
        ratios: As in `Ratios`.
        size: As in `Ratios`; with a size the counts add up to it exactly.

    Raises:
        UserError: When there is no such set.

    >>> joint_counts([10, 10, 10, 10], [1, 0.5, 0.25, 0])
    [10, 5, 2, 0]
    >>> joint_counts([10, 10, 10, 10], [1, 0.5, 0.25, 0], 0.625)
    [10, 10, 5, 0]
    """
    if any(not 0 <= ratio <= 1 for ratio in ratios) or not any(ratios):
        raise UserError(f"sampler.ratios={list(ratios)}: must be numbers from 0 to 1, not all 0")
    wanted = np.array([n * ratio for n, ratio in zip(sizes, ratios, strict=True)])
    if size is None:
        return [max(round(float(w)), int(w > 0)) for w in wanted]
    total = sum(sizes)
    target = round(size * total) if isinstance(size, float) else size
    if not 0 < target <= total:
        raise UserError(
            f"sampler.size={size}: must be from 1 to the video's {total} patches, or a share "
            "up to 1.0"
        )
    middle = np.zeros(len(sizes), bool)
    middle[1:-1] = wanted[1:-1] > 0
    limits = np.where(middle, sizes, np.floor(wanted + 0.5))
    least = limits[~middle].sum()
    if not least <= target <= limits.sum():
        raise UserError(
            f"sampler.size={size}: {target} patches; with ratios {list(ratios)} from "
            f"{least:.0f} to {limits.sum():.0f}"
        )
    scaled = np.where(middle, 0.0, limits)
    low, high = 0.0, float(max([1.0, *(np.array(sizes)[middle] / wanted[middle])]))
    for _ in range(100):  # the factor that all middle ratios share: the sum grows with it
        factor = (low + high) / 2
        scaled = np.where(middle, np.minimum(wanted * factor, sizes), limits)
        low, high = (factor, high) if scaled.sum() < target else (low, factor)
    counts = np.floor(scaled + 1e-6).astype(int)
    for i in np.argsort(counts - scaled, kind="stable")[: target - counts.sum()]:
        counts[i] += 1
    return [int(count) for count in counts]
