"""The result of a run as a text table."""

import textwrap
from collections.abc import Sequence

from stdo.core.types import Json
from stdo.metrics.registry import METRICS, OTHERS, PROTOCOLS
from stdo.runs.files import harmless

_WIDTH = 80
_BARS = "▁▂▃▄▅▆▇█"
NONE = "–"
"""What stands for a figure that does not exist."""


def closing_table(metrics: Json, others: Sequence[tuple[str, Json]] = ()) -> str:
    """What a run ends with: our figures, bicubic's and the difference, chunk by chunk, and what it
    cost.

    Args:
        metrics: The content of metrics.json. Figures that are None are shown as –. No line is
            longer than 80 characters, save a name that is.
        others: Names of methods with comparable runs, and their metrics as in metrics.json.
    """
    metrics = harmless(metrics)  # the run may be somebody else's
    names = [*PROTOCOLS, *(name for name in OTHERS if metrics.get(name) or METRICS[name].default)]
    ours, bicubic = _figures(metrics, names), _figures(metrics["bicubic"], names)
    gains = [None if a is None or b is None else a - b for a, b in zip(ours, bicubic, strict=True)]
    rows = [
        ["PSNR in dB", *map(heading, names)],
        [metrics["method"], *_texts(ours, names)],
        ["bicubic", *_texts(bicubic, names)],
        ["difference", *_texts(gains, names, sign="+")],
        *([name, *_texts(_figures(result, names), names)] for name, result in others),
    ]
    what = f"{metrics['method']} · {metrics['backbone']} ×{metrics['scale']}"
    size = f"{_plural(metrics['chunks'], 'chunk')} · {_plural(metrics['frames'], 'frame')}"
    lines = [*_wrapped("", [metrics["video"], what, size], " · "), "", *aligned(rows), ""]
    lines += _wrapped("chunk dB", _chunk_cells(metrics["chunk_psnr"]), "   ")
    if "seams" in metrics and "seams" in metrics["bicubic"]:
        lines += _wrapped("seams", _seams(metrics), ", ")
    if metrics.get("shortened"):
        lines += _wrapped("shortened", _shortened(metrics), ", ")
    lines += _wrapped("cost", _costs(metrics), ", ")
    if "delivered" in metrics:
        lines += _wrapped("bytes", _bytes(metrics), ", ")
    lines += _wrapped(
        "seconds", [f"{step} {number(s, 1)}" for step, s in metrics["seconds"].items()], ", "
    )
    return "\n".join(lines)


def _seams(metrics: Json) -> list[str]:
    """PSNR beside the lines where patches meet and elsewhere, ours and bicubic's, which knows no
    patches."""
    ours, bicubic = metrics["seams"], metrics["bicubic"]["seams"]
    return [
        f"{part} {number(ours[part], 2)} dB (bicubic {number(bicubic[part], 2)})"
        for part in ("border", "inside")
    ]


def heading(name: str) -> str:
    """What a column of a text table is called: a protocol as a setting names it, other metrics as
    the field writes them."""
    return name if METRICS[name].protocol else METRICS[name].label


def _figures(result: Json, names: Sequence[str]) -> list[float | None]:
    return [(result["psnr"] if METRICS[name].protocol else result).get(name) for name in names]


def _texts(figures: Sequence[float | None], names: Sequence[str], sign: str = "") -> list[str]:
    return [
        number(value, METRICS[name].digits, sign)
        for name, value in zip(names, figures, strict=True)
    ]


def number(value: float | None, digits: int, sign: str = "") -> str:
    """A number with thousands separators, and with its sign where ``sign`` is ``+``; – for None."""
    return NONE if value is None else f"{value:{sign},.{digits}f}"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def short(value: float | None) -> str:
    """Three figures and a unit: 27,600 -> 27.6 k."""
    if value is None:
        return NONE
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def _own(metrics: Json) -> str:
    """How many of the parameters belong to each chunk, where it changes a shared network."""
    own = metrics.get("params_per_chunk")
    return f" ({short(metrics.get('params_base'))} and {own:,} for each chunk)" if own else ""


def _costs(metrics: Json) -> list[str]:
    return [
        f"{short(metrics['params'])} parameters{_own(metrics)}",
        f"{short(metrics['macs_per_frame'])} MACs per frame",
        f"{number(metrics['patch_presentations'], 0)} patch presentations",
    ]


def _shortened(metrics: Json) -> list[str]:
    """What a fit did of what its budget asks for, and why."""
    wanted = metrics.get("planned_steps", 0)
    return [f"{metrics['steps']:,} of {wanted:,} steps", str(metrics["shortened"])]


def _bytes(metrics: Json) -> list[str]:
    """What the package weighs, part by part, and the PSNR that its viewer sees."""
    parts = []
    for part, size in metrics["bytes"].items():
        unit = "B" if size >= 1000 else " B"  # 64 kB, 64 B
        parts.append(f"{part} {short(size)}{unit}{_changes(metrics) if part == 'models' else ''}")
    delivered = metrics["delivered"]
    return [
        *parts,
        f"{number(metrics['bitrate_kbps'], 0)} kbit/s",
        f"{number(delivered['psnr']['frame'], 2)} dB at {delivered['bits']} bits",
    ]


def _changes(metrics: Json) -> str:
    """What the changes of chunks weigh, where the networks are one base and changes."""
    sizes = metrics.get("network_bytes") or []
    if len(sizes) <= len(set(metrics.get("network_steps") or [])):
        return ""
    return f" (base {short(sizes[0])}B, changes {short(sum(sizes[1:]))}B)"


def _chunk_cells(psnr: Sequence[float | None]) -> list[str]:
    """Each chunk's PSNR with a bar that spans the chunks' own range."""
    known = [value for value in psnr if value is not None]
    low, span = (min(known), max(max(known) - min(known), 1e-9)) if known else (0.0, 1.0)
    return [
        NONE
        if value is None
        else f"{value:.2f} {_BARS[round((value - low) / span * (len(_BARS) - 1))]}"
        for value in psnr
    ]


def _wrapped(label: str, cells: Sequence[str], separator: str) -> list[str]:
    """The cells after a label, broken between cells where the line would grow too long."""
    indent = 10 if label else 0
    glued = separator.join(cell.replace(" ", "\0") for cell in cells)
    lines = textwrap.wrap(
        glued, _WIDTH - indent, break_long_words=False, break_on_hyphens=False
    ) or [NONE]
    heads = [label, *[""] * (len(lines) - 1)]
    return [
        f"{head:<{indent}}{line}".replace("\0", " ")
        for head, line in zip(heads, lines, strict=True)
    ]


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Columns padded to their widest cell: the first ``left`` to the left, the others to
    the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        cells[:left] = [
            cell.ljust(width) for cell, width in zip(row[:left], widths[:left], strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
