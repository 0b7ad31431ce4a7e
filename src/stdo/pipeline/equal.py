"""Equal work and its two readings: how ``budget.batch`` is divided where networks train side by
side.

Every method is shown the same number of patches. The readings differ in how many steps that is,
and only for networks that train side by side, so that each step shows patches to all of them
(`Sampler.at_once`):

- ``steps`` divides the batch among them. Each takes as many steps as one network for the whole
  video would, and a step costs the same ("the batch size is adjusted", STDO, section 4.2).
- ``batch`` gives the whole batch to each, as the authors' scripts do. Each of k networks takes one
  k-th of the steps.

Networks that take turns (`Turns`), and one network or one base with a difference for each chunk,
are one at a time: the readings are the same fit.
"""

from collections.abc import Callable
from typing import Any

from stdo.chunks.sample import Sampler
from stdo.core.types import I64, UserError
from stdo.models.sharing import Sharing


def side_by_side(sampler: Any, sharing: Any, served: int) -> int | None:
    """How many networks train side by side.

    Args:
        sampler: A partial of the sampler's class.
        sharing: A partial of the class of the networks.
        served: Chunks that have a network.

    Returns:
        None where classes of somebody's own know that alone, once they are built.
    """
    kind, networks = sampler.func, sharing.func
    if isinstance(kind, type) and issubclass(kind, Sampler) and not kind.SIDE_BY_SIDE:
        return 1
    ours = isinstance(networks, type) and issubclass(networks, Sharing)
    if not ours or networks.learners is not Sharing.learners:
        return None
    return served if networks.ONE_EACH else 1


def batch_of_each(batch: int, networks: int, accumulate: int = 1) -> int:
    """The patches that each of some networks is shown in a step with ``budget.equal=steps``.

    Args:
        batch: Patches of all of them together, in each part of a step.
        networks: How many train side by side, 1 or more.
        accumulate: Parts of a step.

    Raises:
        UserError: The batch cannot be divided evenly.

    >>> batch_of_each(8, 4), batch_of_each(4, 1)
    (2, 4)
    """
    asked = f"budget.batch={batch}"
    if accumulate > 1:
        asked += f" times trainer.accumulate_grad_batches={accumulate}"
    batch *= accumulate
    if batch % networks:
        several = ", ".join(str(networks * times) for times in (1, 2, 3))
        fitting = ", ".join(str(n) for n in range(1, min(batch, 64) + 1) if batch % n == 0)
        raise UserError(
            f"{asked}: must be a multiple of the {networks} networks that train side "
            f"by side with budget.equal=steps: {several} and so on; or set chunks so that there "
            f"are {fitting} networks, or budget.equal=batch"
        )
    return batch // networks


def divided(make: Callable[..., Sampler], label_N: I64, learner_N: I64, **settings: Any) -> Sampler:
    """A sampler whose networks share a batch, if they train side by side.

    Args:
        make: The sampler's class, or a partial of it with some of the settings.
        label_N: The chunk of each patch, int64.
        learner_N: The learner of each patch, int64.
        **settings: Others of the sampler. ``batch`` counts the patches of all networks together.

    Raises:
        UserError: See `batch_of_each`; or a setting does not fit the video.
    """
    whole = make(label_N, learner_N, **settings)
    if whole.at_once == 1:
        return whole
    each = batch_of_each(whole.batch_size, whole.at_once)
    return make(label_N, learner_N, **(settings | {"batch": each}))
