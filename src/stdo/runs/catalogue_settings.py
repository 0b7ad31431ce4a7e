"""Settings of stdo.catalogue that no other command has."""

from typing import Literal

from stdo.runs.setting import Count, Natural, NotNegative, Positive, Role, Setting, Shard, Text

CATALOGUE: dict[str, Setting] = {
    "videos": Setting(
        Text | None,
        "the videos: a folder, a list (.txt), a pattern such as films/**/*.mp4, or one",
        Role.NONE,
        path=True,
    ),
    "action": Setting(
        Literal["run", "status", "retry", "plan", "cache", "clear"],
        "encode; show how far it is; try again what failed; estimate; list or clear the cache",
        Role.NONE,
    ),
    "engine": Setting(
        Literal["local", "ray", "slurm"],
        "what runs the jobs: processes here, Ray, or Slurm by submitit",
        Role.NONE,
    ),
    "shard": Setting(
        Shard | None,
        "take each n-th video, such as 3/64; several machines share a catalogue that way",
        Role.NONE,
    ),
    "split.seconds": Setting(
        Positive | None,
        "longest part of a video; longer ones are split at scene cuts into jobs; null: never",
        Role.NONE,
    ),
    "workers": Setting(
        Count | None,
        "videos at the same time; null: one for each core, by threads",
        Role.NONE,
    ),
    "threads": Setting(
        Count, "threads of a video; the bytes of its package may depend on them", Role.NONE
    ),
    "retries": Setting(Natural, "how often a job whose process dies is started again", Role.NONE),
    "resources.gpus": Setting(
        NotNegative, "GPUs that a job asks for; with Ray 0.25 lets four share one", Role.NONE
    ),
    "ray.address": Setting(
        Text | None, "of a Ray cluster, or auto; null: Ray is started here", Role.NONE
    ),
    "slurm.cluster": Setting(
        Literal["slurm", "local"],
        "slurm, or local: submitit's processes on this machine, to try it",
        Role.NONE,
    ),
    "slurm.partition": Setting(Text | None, "partition of the jobs", Role.NONE),
    "slurm.account": Setting(Text | None, "account of the jobs", Role.NONE),
    "slurm.minutes": Setting(Count, "time limit of a job; it resumes in the next one", Role.NONE),
    "slurm.memory": Setting(Positive | None, "GB of memory of a job", Role.NONE),
}
