"""The sampler of meta-learning: some steps of one task, then some of another."""

import numpy as np

from stdo.chunks.sample import Uniform
from stdo.core.types import I64, Json, UserError


class Tasks(Uniform):
    """Shows patches of one chunk for ``inner`` steps, then those of another.

    Each chunk is a task of meta-learning (`stdo.training.reptile.Reptile`). All tasks come once in
    random order, then again in a new order. A task goes on in its patches where its turn before
    ended.

    Args:
        label_N: The chunk of each patch, int64.
        learner_N: The learner that learns from each patch, int64: 0, there is one.
        batch: Patches per step.
        passes: Presentations as a multiple of N; the fit ends with a whole turn, so that up to
            ``inner`` - 1 steps are left out.
        seed: Of the order of tasks and patches.
        inner: Steps of a turn, 1 or more.

    Raises:
        UserError: The budget leaves no whole turn, or networks of several chunks are trained.
    """

    SIDE_BY_SIDE = False

    def __init__(
        self,
        label_N: I64,
        learner_N: I64,
        *,
        batch: int,
        passes: float,
        seed: int,
        inner: int = 8,
    ) -> None:
        if learner_N.any():
            raise UserError("sampler=tasks: needs one network for all chunks (sharing=single)")
        # Each task is drawn from as a learner has its patches
        super().__init__(label_N, label_N, batch=batch, passes=passes, seed=seed)
        self.inner, self.tasks = inner, self.learners
        self.learner_N, self.learners, self.at_once = learner_N, 1, 1
        if self.steps < inner:
            least = inner * batch / len(label_N)
            raise UserError(
                f"budget.passes={passes:g}: must be at least {1.01 * least:.3g} for this video, "
                f"sampler.inner={inner} steps"
            )
        self.steps -= self.steps % inner

    @property
    def facts(self) -> Json:
        """The share of the steps that each task has."""
        shares = np.bincount([self._task(turn)[0] for turn in range(self.steps // self.inner)])
        return {"step_shares": (shares / shares.sum()).tolist()}

    def batch(self, step: int) -> I64:
        """See `Sampler.batch`."""
        assert 0 <= step < self.steps, step
        turn, within = divmod(step, self.inner)
        task, before = self._task(turn)
        return self._draw(task, before * self.inner + within)

    def _task(self, turn: int) -> tuple[int, int]:
        """The task of a turn, and how many turns it had before."""
        lap, place = divmod(turn, self.tasks)
        order = np.random.default_rng((self.seed, lap)).permutation(self.tasks)
        return int(order[place]), lap
