"""General super-resolution weights from a file or the web, as an upscaler of 8-bit frames."""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stdo.core.types import U8, UserError
from stdo.models.common import Backbone, Bicubic, plain
from stdo.models.download import checked_digest, digest_of, download, is_address
from stdo.models.pixels import to_float, to_uint8
from stdo.models.registry import build
from stdo.models.weights import load_one, one_line, read_safetensors

COLOURS = ("auto", "rgb", "ycbcr")
STRIP_PIXELS = 2**19
"""HR pixels computed at once: bounds the memory whatever the frame's size (64 float32 channels of
it are 128 MiB)."""

_TO_YCBCR = torch.tensor(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
)
_OFFSET = torch.tensor([0.0, 128 / 255, 128 / 255]).view(3, 1, 1)


class PretrainedUpscaler:
    """A backbone with general weights: LR frame (h, w, 3) uint8 RGB -> SR frame (s·h, s·w, 3) uint8
    RGB.

    Args:
        weights: A file or an https address (kept in ``cache``). Either `save_networks`' own format
            with one network, or a state dict (PyTorch or safetensors) whose convolutions have our
            shapes in our order, under any names; in safetensors, which keeps no order, the names
            sorted with their numbers must give it. A state dict may lie in what a trainer saved,
            and its layers may be weight-normalised, as the paper's authors publish theirs.
        backbone: What to load the weights into. In our own format the file says what is predicted
            (`Backbone`, residual); foreign weights are taken as published.
        scale: Of the backbone.
        colour: What the network was trained on. ``ycbcr`` is full-range BT.601 (JPEG) in [0, 1];
            ``auto`` takes what the backbone's paper and its ports use for foreign weights
            (`Backbone.COLOUR`), else ``rgb``.
        bicubic_a: Sharpness of the upsampling inside networks that have one (SRCNN, VDSR); -0.5 is
            MATLAB's and ours. Use -0.75 for weights trained behind OpenCV's or torch's plain
            bicubic.
        sha256: What the file must be; needed for an address, so that nobody on the way, nor whoever
            owns it by then, can put other weights in its place.
        device: Where to run.
        cache: Folder for downloads, by default torch's.

    Nothing is ever unpickled into code. Raises UserError, one line, for whatever cannot be loaded.
    """

    def __init__(
        self,
        weights: str,
        backbone: str,
        scale: int,
        colour: str = "auto",
        *,
        bicubic_a: float = -0.5,
        sha256: str | None = None,
        device: str = "cpu",
        cache: str | Path | None = None,
    ) -> None:
        if colour not in COLOURS:
            raise UserError(f"colour={colour}: must be one of {', '.join(COLOURS)}")
        path = _local(weights, sha256, cache)
        network, ours = _load(path, backbone, scale)
        if colour == "auto":
            colour = "rgb" if ours else network.COLOUR
        if network.upsample is not None:
            network.upsample = Bicubic(scale, bicubic_a, shuffled=not network.SHUFFLED)
        self.colour = colour
        self.network = network.to(device)
        self.device = device
        self._key = f"{backbone}-x{scale}-{colour}-a{bicubic_a}-{digest_of(path)[:16]}"

    def key(self) -> str:
        """Identifies the result: backbone, scale, colour space, upsampling and the content of the
        weights."""
        return self._key

    @torch.inference_mode()
    def __call__(self, lr_HWC: U8) -> U8:
        """Upscale one frame, in horizontal strips with exactly the context that the network
        reaches."""
        scale, reach = self.network.scale, self.network.receptive_radius
        height, width, _ = lr_HWC.shape
        rows = max(1, STRIP_PIXELS // (width * scale * scale))
        sr_HWC = np.empty((height * scale, width * scale, 3), np.uint8)
        for top in range(0, height, rows):
            bottom = min(height, top + rows)
            above = max(0, top - reach)
            strip_HWC = self._strip(lr_HWC[above : min(height, bottom + reach)])
            offset = (top - above) * scale
            sr_HWC[top * scale : bottom * scale] = strip_HWC[
                offset : offset + (bottom - top) * scale
            ]
        return sr_HWC

    def _strip(self, lr_HWC: U8) -> U8:
        x_NCHW = to_float(torch.from_numpy(np.array(lr_HWC))[None].to(self.device))
        if self.colour == "ycbcr":
            x_NCHW = _mix(_TO_YCBCR, x_NCHW) + _OFFSET.to(self.device)
        y_NCHW = self.network(x_NCHW)
        if self.colour == "ycbcr":
            y_NCHW = _mix(torch.linalg.inv(_TO_YCBCR), y_NCHW - _OFFSET.to(self.device))
        out_HWC: U8 = to_uint8(y_NCHW)[0].cpu().numpy()
        return out_HWC


def _mix(matrix: Tensor, x_NCHW: Tensor) -> Tensor:
    """Apply a 3x3 colour matrix to every pixel."""
    return torch.einsum("dc,nchw->ndhw", matrix.to(x_NCHW.device), x_NCHW)


def _local(weights: str, sha256: str | None, cache: str | Path | None) -> Path:
    """The file that ``weights`` names, downloaded first if it is an address."""
    wanted = checked_digest(sha256)
    if is_address(weights):
        return download(
            weights, wanted, Path(cache) if cache else Path(torch.hub.get_dir()) / "stdo"
        )
    path = Path(weights)
    if not path.is_file():
        raise UserError(f"weights={weights}: no such file")
    if wanted is not None and digest_of(path) != wanted:
        raise UserError(f"weights={weights}: is another file than scorer.sha256={sha256} names")
    return path


def _load(path: Path, backbone: str, scale: int) -> tuple[Backbone, bool]:
    """The network in ``path``, and whether the file is in our own format."""
    with torch.random.fork_rng(devices=[]):
        # First: a wrong name or scale is not the file's fault
        network = plain(build(backbone, scale))
    if path.suffix == ".safetensors":
        tensors, meta = read_safetensors(path)
        if "backbone" in meta:
            return load_one(path, backbone, scale), True
        # The format keeps no order
        tensors = {key: tensors[key] for key in sorted(tensors, key=_natural)}
    else:
        tensors = _read_torch(path)
    _match(path, network, backbone, _folded(path, tensors))
    return network, False


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts layer 10 after layer 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _read_torch(path: Path) -> dict[str, Tensor]:
    """The tensors of a PyTorch file, in order: those of a state dict, or of the one state dict in
    what a trainer saved beside its optimizer and its counters."""
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"weights={path}: refused, it holds more than plain tensors (pickled code is never run)"
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise UserError(
            f"weights={path}: damaged or not a PyTorch file ({one_line(error)})"
        ) from None
    if not isinstance(loaded, Mapping):
        raise UserError(f"weights={path}: must hold a state dict, not a {type(loaded).__name__}")
    if not _is_state(loaded):
        states = [str(name) for name, value in loaded.items() if _is_state(value)]
        if len(states) != 1:
            held = f"{len(states)} ({', '.join(states)})" if states else "none"
            raise UserError(f"weights={path}: must hold one state dict, holds {held}")
        loaded = loaded[states[0]]
    return {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}


def _is_state(value: object) -> bool:
    """Whether this is a state dict. An optimizer's holds its tensors further down."""
    return isinstance(value, Mapping) and any(isinstance(each, Tensor) for each in value.values())


_NORMED = (
    ("weight_g", "weight_v"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)
"""How PyTorch calls gain and direction of weight normalisation: until 2.0, and since."""


def _folded(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with plain filters in the place of normalised ones, g · v / |v|."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        pair = next((pair for pair in _NORMED if any(_ends(name, end) for end in pair)), None)
        if pair is None:
            found[name] = tensor
            continue
        layer = name.removesuffix(pair[0]).removesuffix(pair[1])
        gain, direction = (tensors.get(layer + end) for end in pair)
        if gain is None or direction is None:
            raise UserError(f"weights={path}: {name}: its layer lacks one of {', '.join(pair)}")
        if direction.dim() < 2 or gain.shape != (len(direction), *[1] * (direction.dim() - 1)):
            shapes = f"{tuple(gain.shape)} and {tuple(direction.shape)}"
            raise UserError(f"weights={path}: {name}: {' and '.join(pair)} do not fit: {shapes}")
        others = tuple(range(1, direction.dim()))
        norm = torch.linalg.vector_norm(direction, dim=others, keepdim=True)
        found[f"{layer}weight"] = gain * direction / norm
    return found


def _ends(name: str, end: str) -> bool:
    return name == end or name.endswith(f".{end}")


def _match(path: Path, network: Backbone, backbone: str, tensors: Mapping[str, Tensor]) -> None:
    """Copy foreign tensors into ``network``: filters in order, biases in order, names ignored."""
    for kind, dims in (("filters", 4), ("biases", 1)):
        ours = [p for p in network.parameters() if p.dim() == dims]
        theirs = [t for t in tensors.values() if t.dim() == dims]
        if len(ours) != len(theirs):
            raise UserError(
                f"weights={path}: has {len(theirs)} {kind}; {backbone} needs {len(ours)}"
            )
        for i, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            if mine.shape != other.shape:
                raise UserError(
                    f"weights={path}: layer {i + 1} has {kind} of shape {tuple(other.shape)}; "
                    f"{backbone} at scale {network.scale} needs {tuple(mine.shape)}"
                )
            if not other.isfinite().all():
                raise UserError(f"weights={path}: layer {i + 1} has {kind} that are not finite")
            mine.data.copy_(other)
