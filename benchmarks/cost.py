"""Parameters and multiply-accumulates of every backbone and scale, beside the paper's figures.

    python benchmarks/cost.py > cost.tsv

Tab-separated: backbone, scale, params, macs (of one 48x48 LR patch), paper_g. ``paper_g`` is the
"FLOPs" column of the STDO paper's Table 3 in units of 10⁹; it counts a multiply and its addition
once, as macs does.
"""

from stdo.core.types import SCALES
from stdo.models.cost import count
from stdo.models.registry import BACKBONES
from stdo.reporting.paper import paper_macs


def main() -> None:
    """Print the table."""
    print("backbone", "scale", "params", "macs", "paper_g", sep="\t")
    for name in BACKBONES:
        for scale in SCALES:
            cost = count(name, scale)
            printed = paper_macs(name, scale)
            print(name, scale, cost.params, cost.macs, "" if printed is None else printed, sep="\t")


if __name__ == "__main__":
    main()
