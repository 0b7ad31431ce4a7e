"""Training on a GPU: which way of computing many networks is fastest, and what share of the GPU it
uses.

    python benchmarks/gpu.py [--backbone wdsr] [--networks 4] [--batch 16] [--seconds 20] [--quick]

Every way computes the same step of k networks on a batch that lies on the device: one after the
other (as `stdo.models.sharing.Independent` does), all at once by torch.func, and each of them
compiled, or captured as a CUDA graph. First each is checked against the first on its losses; one
that differs or fails is named and not timed. Then a short table: patches per second, share of the
measured rate of convolutions, and how long 50 passes of 15 seconds of 1080p (`budget=paper`) take
at that rate. Without a GPU it says so; ``--check`` runs the checks on the CPU in small.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, stack_module_state

from common import machine, tsv
from stdo.models.cost import count
from stdo.models.registry import BACKBONES
from stdo.models.sharing import Independent

SCALE, PATCH = 4, (54, 48)
PAPER_PATCHES = 50 * 50 * 15 * 25
"""Passes, patches of a 1080p frame at x4, seconds, frames a second."""
STEPS = 5
"""That the ways are compared over."""
TOLERANCE = 2e-2
"""Relative difference of losses: bf16, and sums in another order."""


@dataclass(frozen=True)
class Setting:
    """The work of a step."""

    backbone: str
    networks: int
    batch: int
    device: str

    def sharing(self) -> Independent:
        """The same networks each time."""
        made = Independent(partial(BACKBONES[self.backbone], SCALE), self.networks)
        return made.to(self.device, memory_format=torch.channels_last)

    def batches(self) -> tuple[Tensor, Tensor]:
        """LR (K, N, 3, h, w) and HR of the same patches."""
        generator = torch.Generator().manual_seed(0)
        hr = torch.rand(
            self.networks * self.batch, 3, PATCH[0] * SCALE, PATCH[1] * SCALE, generator=generator
        )
        lr = F.avg_pool2d(hr, SCALE)
        return tuple(x.to(self.device).unflatten(0, (self.networks, self.batch)) for x in (lr, hr))  # type: ignore[return-value]


Step = Callable[[], Tensor]
"""One training step; the summed loss."""


def one_by_one(setting: Setting, compiled: bool = False) -> Step:
    """Each network in turn, the losses added, one optimizer."""
    sharing, (lr, hr) = setting.sharing(), setting.batches()
    optimizer = torch.optim.Adam(sharing.parameters(), lr=1e-4, capturable=setting.device == "cuda")

    def loss() -> Tensor:
        with torch.autocast(setting.device, torch.bfloat16):
            parts = [
                F.l1_loss(net(x).float(), y)
                for net, x, y in zip(sharing.backbones, lr, hr, strict=True)
            ]
        return torch.stack(parts).sum()

    return _step(torch.compile(loss) if compiled else loss, optimizer)


def all_at_once(setting: Setting, compiled: bool = False) -> Step:
    """The networks' weights stacked, and one call for all by torch.func."""
    sharing, (lr, hr) = setting.sharing(), setting.batches()
    stacked, buffers = stack_module_state(list(sharing.backbones))
    base = sharing.backbones[0]
    optimizer = torch.optim.Adam(stacked.values(), lr=1e-4, capturable=setting.device == "cuda")
    call = torch.vmap(lambda weights, rest, x: functional_call(base, (weights, rest), (x,)))

    def loss() -> Tensor:
        with torch.autocast(setting.device, torch.bfloat16):
            sr = call(stacked, buffers, lr)
        return (sr.float() - hr).abs().mean((1, 2, 3, 4)).sum()

    return _step(torch.compile(loss) if compiled else loss, optimizer)


def graphed(setting: Setting) -> Step:
    """One by one, captured as a CUDA graph after a few steps; those count as steps too."""
    step = one_by_one(setting)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    first: list[Tensor] = []
    with torch.cuda.stream(stream):
        first += [step().clone() for _ in range(3)]
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = step()

    def replay() -> Tensor:
        if first:
            return first.pop(0)
        graph.replay()
        return out.clone()

    return replay


def _step(loss: Callable[[], Tensor], optimizer: torch.optim.Optimizer) -> Step:
    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=False)
        value = loss()
        value.backward()
        optimizer.step()
        return value.detach()

    return step


WAYS: dict[str, Callable[[Setting], Step]] = {
    "one by one": one_by_one,
    "torch.func": all_at_once,
    "one by one, compiled": partial(one_by_one, compiled=True),
    "torch.func, compiled": partial(all_at_once, compiled=True),
    "one by one, CUDA graph": graphed,
}
CPU_WAYS = ("one by one", "torch.func")
"""What ``--check`` can run without a GPU and a compiler."""


def check(way: str, setting: Setting, expected: list[float]) -> Step | str:
    """The way, ready to be timed, or what is wrong with it."""
    try:
        step = WAYS[way](setting)
        losses = [float(step()) for _ in range(STEPS)]
    except Exception as error:
        return (
            f"fails: {type(error).__name__}: "
            f"{str(error).strip().splitlines()[0] if str(error).strip() else ''}"
        )
    worst = max(abs(a - b) / b for a, b in zip(losses, expected, strict=True))
    return step if worst < TOLERANCE else f"differs by {worst:.1%}"


def rate(step: Step, patches: int, seconds: float) -> float:
    """Patches per second."""
    step()
    torch.cuda.synchronize()
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step()
        steps += 1
        torch.cuda.synchronize()
    return steps * patches / (time.perf_counter() - began)


def convolutions() -> float:
    """Operations per second of a large bf16 convolution, forwards."""
    images = torch.rand(64, 256, 128, 128, device="cuda", dtype=torch.bfloat16).to(
        memory_format=torch.channels_last
    )
    weights = torch.rand(256, 256, 3, 3, device="cuda", dtype=torch.bfloat16).to(
        memory_format=torch.channels_last
    )
    operations = 2 * 64 * 128 * 128 * 256 * 256 * 9
    F.conv2d(images, weights, padding=1)
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(20):
        F.conv2d(images, weights, padding=1)
    torch.cuda.synchronize()
    return 20 * operations / (time.perf_counter() - began)


def main() -> None:
    """Check, time, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--backbone", default="wdsr", choices=sorted(BACKBONES))
    parser.add_argument("--networks", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--check", action="store_true", help="the checks alone, on the CPU if need be"
    )
    chosen = parser.parse_args()
    gpu = torch.cuda.is_available()
    print(f"# {machine()}; {torch.cuda.get_device_name() if gpu else 'no GPU here'}")
    if not gpu and not chosen.check:
        return
    backbone, batch = (chosen.backbone, chosen.batch) if gpu else ("espcn", 2)
    setting = Setting(backbone, chosen.networks, batch, "cuda" if gpu else "cpu")
    reference = one_by_one(setting)
    expected = [float(reference()) for _ in range(STEPS)]
    limit = convolutions() if gpu else 0.0
    work = f"{backbone} x{SCALE}, {setting.networks} networks, batch {batch}"
    print(f"# {work}; convolutions at {limit / 1e12:.0f} Top/s" if gpu else f"# {work}")
    tsv("way", "patches_s", "share_of_convolutions", "paper_budget_minutes")
    for way in WAYS if gpu else CPU_WAYS:
        found = check(way, setting, expected)
        if isinstance(found, str) or not gpu:
            tsv(way, found if isinstance(found, str) else "agrees")
            continue
        patches = rate(found, batch * setting.networks, 5 if chosen.quick else chosen.seconds)
        # Forwards, and twice that backwards
        operations = 3 * 2 * count(backbone, SCALE, *PATCH).macs
        tsv(
            way,
            f"{patches:.0f}",
            f"{patches * operations / limit:.3f}",
            f"{PAPER_PATCHES / patches / 60:.1f}",
        )


if __name__ == "__main__":
    main()
