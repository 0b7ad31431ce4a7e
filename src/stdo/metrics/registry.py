"""The metrics by name: whatever the files beside this one define."""

import importlib
import pkgutil
from collections.abc import Iterable, Sequence

from stdo import metrics
from stdo.core.types import UserError
from stdo.metrics.base import Metric

_NO_METRICS = ("base", "registry")


def _found() -> dict[str, type[Metric]]:
    """The one metric that each file defines, by the file's name, in the order of the tables."""
    kinds = []
    for file in pkgutil.iter_modules(metrics.__path__):
        if file.name in _NO_METRICS:
            continue
        module = importlib.import_module(f"{metrics.__name__}.{file.name}")
        own = [kind for kind in vars(module).values() if _is_metric_of(kind, module.__name__)]
        assert len(own) == 1, f"{file.name}.py must define one metric, not {len(own)}"
        kinds += own
    kinds.sort(key=lambda kind: (kind.rank, kind.name()))
    return {kind.name(): kind for kind in kinds}


def _is_metric_of(kind: object, module: str) -> bool:
    return isinstance(kind, type) and issubclass(kind, Metric) and kind.__module__ == module


METRICS = _found()
"""Name -> class."""

PROTOCOLS = tuple(name for name, kind in METRICS.items() if kind.protocol)
"""The ways to take PSNR, in the order of the tables; docs/protocol.md defines each."""

OTHERS = tuple(name for name, kind in METRICS.items() if not kind.protocol)
"""All other metrics."""

OPTIONAL = tuple(name for name, kind in METRICS.items() if not kind.default)
"""The metrics that are computed where they are asked for."""


def chosen(extra: Iterable[str] = (), grid: bool = True) -> list[type[Metric]]:
    """The metrics of an evaluation.

    Args:
        extra: Names of `OPTIONAL` metrics.
        grid: Whether it knows the patches of the frames.

    Raises:
        UserError: There is no such metric.
    """
    asked = list(extra)
    check(asked)
    kinds = [kind for name, kind in METRICS.items() if kind.default or name in asked]
    return [kind for kind in kinds if grid or not kind.grid]


def check(names: Sequence[str]) -> None:
    """Raise UserError unless all are names of metrics."""
    for name in names:
        if name not in METRICS:
            raise UserError(
                f"metrics={name}: must be of {', '.join(OPTIONAL)}; all others are always measured"
            )
