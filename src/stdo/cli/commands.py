"""The commands: what each is for, and how it is called. Standard library alone."""

COMMANDS = {
    "train": (
        "overfit networks to a video",
        "python -m stdo.train backbone=wdsr scale=4 chunks=4\n"
        "python -m stdo.train video.path=clip.mp4 method=nas video.height=540\n"
        "python -m stdo.train -m method=awdnn,nas,stdo chunks=2,4\n"
        "python -m stdo.train study=table2 video.path=clip.mp4",
    ),
    "evaluate": (
        "measure a finished run again, or keep its frames",
        "python -m stdo.evaluate run=outputs/<video>/<run> save=video",
    ),
    "deliver": (
        "pack a finished run for viewers",
        "python -m stdo.deliver run=outputs/<video>/<run>",
    ),
    "export": (
        "write a run's networks for other runtimes",
        "python -m stdo.export run=outputs/<video>/<run> format=onnx",
    ),
    "play": (
        "turn a package into frames or a video file",
        "python -m stdo.play movie.stdo out.mp4",
    ),
    "catalogue": (
        "encode many videos to packages",
        "python -m stdo.catalogue videos=films out=packages workers=8\n"
        "python -m stdo.catalogue videos=films.txt out=packages engine=slurm shard=3/64\n"
        "python -m stdo.catalogue out=packages action=status",
    ),
    "report": (
        "compare finished runs: table, plots, page",
        "python -m stdo.report runs=outputs",
    ),
    "dashboard": (
        "make the W&B dashboard against NAS and CaFM",
        "python -m stdo.dashboard runs=outputs entity=me\n"
        "python -m stdo.dashboard runs=outputs print=true",
    ),
}
"""Name -> what it does, and examples."""


def listing() -> str:
    """The commands, one below the other.

    >>> print(listing().splitlines()[-1])
    python -m stdo.<command> --help tells the settings of one.
    """
    lines = ["stdo: video delivery by overfitted super-resolution", ""]
    for name, (purpose, _) in COMMANDS.items():
        lines.append(f"python -m stdo.{name:<10}{purpose}")
    lines += ["", "python -m stdo completion  prints Tab completion for bash"]
    return "\n".join([*lines, "python -m stdo.<command> --help tells the settings of one."])
