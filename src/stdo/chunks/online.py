"""The sampler that looks at what training makes of the patches."""

import numpy as np

from stdo.chunks.sample import Sampler, State
from stdo.core.types import F32, I64, UserError


class Online(Sampler):
    """Passes over all patches of a learner, and between them passes over those of the least PSNR.

        all ▪▪▪▪▪▪▪▪ ─► PSNR of each patch ─► hard ▪▪▪▪ ─► … ─► all ▪▪▪▪▪▪▪▪ ─► PSNR of each …

    The PSNR is that which the step had that showed the patch last: it costs no further pass of the
    network. In each pass the patches come in a new random order.

    This is our reading of the video patch sampling of RepCaM (NOSSDAV 2023). Its abstract says that
    patches are sampled online, to converge sooner; its published code is without it.

    Whoever trains tells by `note` what it made of the patches, before it draws a step for which
    `waits` is true. Draws depend on the fit, so `state` and `restore` resume it.

    Args:
        label_N: See `Sampler`.
        learner_N: The learner that learns from each patch, int64; negative for none.
        batch: Patches per learner and step.
        passes: Presentations as a multiple of N.
        seed: Of the order of patches.
        share: Patches of the passes between, of the least PSNR, as a share of the learner's: above
            0, up to 1.
        every: Each so many-th pass is one over all patches, the first one too; 1: all are.

    Raises:
        UserError: ``share`` or ``every`` is out of its range.
    """

    def __init__(
        self,
        label_N: I64,
        learner_N: I64,
        *,
        batch: int,
        passes: float,
        seed: int,
        share: float = 0.5,
        every: int = 2,
    ) -> None:
        super().__init__(label_N, learner_N, batch=batch, passes=passes, seed=seed)
        if not 0 < share <= 1:
            raise UserError(f"sampler.share={share}: must be a number above 0, up to 1")
        if every < 1:
            raise UserError(f"sampler.every={every}: must be 1 or more")
        self._every = every
        self._members = [np.flatnonzero(learner_N == learner) for learner in range(self.learners)]
        assert all(len(members) for members in self._members), "a learner without patches"
        self._hard = [max(1, round(share * len(members))) for members in self._members]
        # A patch that no step has shown is harder than any
        self._error_N: F32 = np.full(len(label_N), np.inf, np.float32)
        self._shown_N: I64 = np.zeros(len(label_N), np.int64)
        self._orders: dict[tuple[int, int], I64] = {}

    @property
    def online(self) -> "Online":
        """See `Sampler.online`."""
        return self

    def note(self, patch_B: I64, error_B: F32) -> None:
        """See `Observer.note`."""
        self._error_N[patch_B] = error_B
        np.add.at(self._shown_N, patch_B, 1)

    def waits(self, step: int) -> bool:
        """See `Sampler.waits`: where a pass over hard patches begins."""
        return any(
            number % self._every
            for learner in range(self.learners)
            for number in self._passes_of(learner, step, begun=True)
        )

    def batch(self, step: int) -> I64:
        """See `Sampler.batch`. Steps are drawn in order, after what `restore` resumes; the same
        step may be drawn again."""
        assert 0 <= step < self.steps, step
        return np.concatenate([self._draw(learner, step) for learner in range(self.learners)])

    def chunk_presentations(self, label_N: I64 | None = None) -> list[int]:
        """See `Observer.chunk_presentations`."""
        label_N = self.label_N if label_N is None else label_N
        counts = np.bincount(label_N, self._shown_N, minlength=int(label_N.max()) + 1)
        return [int(count) for count in counts]

    def state(self) -> State:
        """See `Observer.state`."""
        orders = {
            f"order.{learner}.{number}": order for (learner, number), order in self._orders.items()
        }
        return {"error": self._error_N.copy(), "shown": self._shown_N.copy(), **orders}

    def restore(self, state: State) -> None:
        """See `Observer.restore`."""
        if any(state[name].shape != self.label_N.shape for name in ("error", "shown")):
            raise UserError(
                f"the checkpoint knows {len(state['error'])} patches, the video has "
                f"{len(self.label_N)}; force=true trains again"
            )
        self._error_N = state["error"].astype(np.float32)
        self._shown_N = state["shown"].astype(np.int64)
        self._orders = {}
        for name, order in state.items():
            if name.startswith("order."):
                learner, number = map(int, name.split(".")[1:])
                self._orders[learner, number] = order.astype(np.int64)

    def _draw(self, learner: int, step: int) -> I64:
        """Numbers of the patches that one learner is shown in a step."""
        numbers = self._passes_of(learner, step)
        for key in [key for key in self._orders if key[0] == learner and key[1] < numbers[0]]:
            del self._orders[key]
        parts = []
        for number in numbers:
            if (learner, number) not in self._orders:
                self._orders[learner, number] = self._ordered(learner, number)
            order, begin = self._orders[learner, number], self._begin(learner, number)
            first = step * self.batch_size - begin
            parts.append(order[max(0, first) : max(0, first + self.batch_size)])
        return np.concatenate(parts)

    def _ordered(self, learner: int, number: int) -> I64:
        """The patches of a pass, in their order."""
        shown = self._members[learner]
        if number % self._every:
            order = np.argsort(-self._error_N[shown], kind="stable")
            shown = shown[order[: self._hard[learner]]]
        return np.random.default_rng((self.seed, learner, number)).permutation(shown)

    def _passes_of(self, learner: int, step: int, begun: bool = False) -> range:
        """The numbers of the passes that a step has patches of; ``begun``: that begin in it."""
        first = step * self.batch_size
        last = self._pass_at(learner, first + self.batch_size - 1)
        if begun:
            return range(self._pass_at(learner, first - 1) + 1 if first else 0, last + 1)
        return range(self._pass_at(learner, first), last + 1)

    def _pass_at(self, learner: int, place: int) -> int:
        """The pass that a place in the row of all presentations belongs to."""
        whole, hard = len(self._members[learner]), self._hard[learner]
        rounds, place = divmod(place, whole + (self._every - 1) * hard)
        return rounds * self._every + (0 if place < whole else 1 + (place - whole) // hard)

    def _begin(self, learner: int, number: int) -> int:
        """The place where a pass begins."""
        whole, hard = len(self._members[learner]), self._hard[learner]
        rounds, number = divmod(number, self._every)
        return rounds * (whole + (self._every - 1) * hard) + (
            whole + (number - 1) * hard if number else 0
        )
