"""What a sampler that looks at the training asks of a fit, checked before anything is decoded."""

from typing import Any

from stdo.chunks.online import Online
from stdo.core.types import UserError


def check_online(sampler: Any, first: Any, processes: int, repeats: float | None) -> None:
    """Check a fit whose sampler may be online.

    Args:
        sampler: A partial of the class of the sampler.
        first: The same of the first phase, if there is one.
        processes: That train together.
        repeats: Steps, or a share, that are repeated again and again; 0 or None: none.

    Raises:
        UserError: The sampler cannot do its work there.
    """
    if first is not None and _is_online(first):
        raise UserError("sampler@init.sampler=online: must be a sampler of another kind")
    if not _is_online(sampler):
        return
    if processes > 1:
        raise UserError(
            f"trainer.devices: must be 1 with sampler=online, not {processes}: no process sees "
            "what the others' steps make"
        )
    if repeats:
        raise UserError(
            f"trainer.overfit_batches={repeats}: must be left out with sampler=online, whose "
            "patches depend on the steps before"
        )


def _is_online(sampler: Any) -> bool:
    kind = sampler.func
    return isinstance(kind, type) and issubclass(kind, Online)
