"""Find OpenVINO's name of a device by trying it."""

import functools
import re

import numpy as np
import openvino as ov
from openvino import opset13 as op

from stdo.core.types import UserError

_CPU = {"INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}
"""Networks take turns; pinned, all would wait for the same cores."""


def usable_device(core: ov.Core, device: str, precision: str) -> tuple[str, dict[str, object]]:
    """The name and the settings that networks are compiled for a device with.

    A name may be a list or a choice, such as ``AUTO``, ``AUTO:CPU`` or ``MULTI:CPU``. So a network
    of one step is compiled and run, rather than the name looked up.

    Args:
        core: OpenVINO.
        device: Its name of the device. ``CPU.0``, the first CPU, is the CPU, whose plugin takes no
            numbers.
        precision: OpenVINO's name of the precision.

    Raises:
        UserError: No network can be run there.
    """
    name, settings = _found(core, device, precision)
    return name, dict(settings)


@functools.lru_cache(maxsize=16)
def _found(core: ov.Core, device: str, precision: str) -> tuple[str, dict[str, object]]:
    """As `usable_device`, tried once in a process: it takes a twentieth of a second."""
    name = re.sub(r"\bCPU\.0\b", "CPU", device)
    common: dict[str, object] = {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": 1}
    why = ""
    for settings in (common | _CPU, common):  # devices that are no CPU refuse what is said of one
        try:
            _try(core, name, settings)
        except RuntimeError as error:
            why = why or _last_line(error)
        else:
            return name, settings
    known = ", ".join([*core.available_devices, "AUTO"])
    raise UserError(
        f"device={device}: must be one of {known}, or another name that OpenVINO knows ({why})"
    )


def _try(core: ov.Core, device: str, settings: dict[str, object]) -> None:
    numbers = op.parameter([1, 3, 8, 8], np.float32)
    model = ov.Model([op.result(op.relu(numbers))], [numbers], "trial")
    core.compile_model(model, device, settings).create_infer_request().infer(
        [np.zeros((1, 3, 8, 8), np.float32)]
    )


def _last_line(error: Exception) -> str:
    lines = [line.strip(" ;") for line in str(error).splitlines()]
    return next((line for line in reversed(lines) if line), type(error).__name__)[:120]
