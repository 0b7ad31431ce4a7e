"""Parameters and multiply-accumulates of every backbone and scale, beside the paper's figures.

    python benchmarks/cost.py > cost.tsv

Tab-separated: backbone, scale, params, macs (of one 48x48 LR patch), paper_g. ``paper_g`` is the "FLOPs" column of the
STDO paper's Table 3 in units of 10⁹; it counts a multiply and its addition once, as macs does.
"""

from stdo.models.cost import count
from stdo.models.registry import BACKBONES
from stdo.types import SCALES

PAPER_G = {
    ("espcn", 2): 0.14,
    ("espcn", 3): 0.15,
    ("espcn", 4): 0.16,
    ("srcnn", 2): 0.64,
    ("srcnn", 3): 1.45,
    ("srcnn", 4): 2.58,
    ("vdsr", 2): 6.15,
    ("vdsr", 3): 13.85,
    ("vdsr", 4): 20.62,
    ("edsr", 2): 3.16,
    ("edsr", 3): 3.60,
    ("edsr", 4): 4.57,
    ("wdsr", 2): 2.73,
    ("wdsr", 3): 2.74,
    ("wdsr", 4): 2.76,
}


def main() -> None:
    """Print the table."""
    print("backbone", "scale", "params", "macs", "paper_g", sep="\t")
    for name in BACKBONES:
        for scale in SCALES:
            cost = count(name, scale)
            print(name, scale, cost.params, cost.macs, PAPER_G.get((name, scale), ""), sep="\t")


if __name__ == "__main__":
    main()
