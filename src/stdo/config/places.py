"""Find the video and the cache of a finished run whose folders may have moved.

The configuration that a run keeps has absolute paths. Those of runs from before have what was
typed, relative to the folder that the command was given in, which nobody wrote down.
"""

import os
from pathlib import Path


def outputs_of(directory: Path) -> Path:
    """The folder of outputs that a run directory lies in, ``<outputs>/<video>/<run>``, absolute."""
    here = directory.absolute()
    return here.parents[1] if len(here.parents) > 1 else here.parent


def candidates(saved: str, outputs: str, directory: Path) -> list[Path]:
    """Where a path of a run's configuration may lead now, the likeliest first.

    Args:
        saved: The path in the configuration.
        outputs: ``paths.outputs`` of the same configuration.
        directory: The run directory as it is found today.

    Returns:
        Absolute paths, which need not exist: as saved; then where it would be, had it been moved
        together with the outputs. A relative one is looked for in the current folder, then in the
        one that held the outputs.

    Examples:
        >>> candidates("/a/clips/x.mp4", "/a/out", Path("/b/out/x/run"))
        [PosixPath('/a/clips/x.mp4'), PosixPath('/b/clips/x.mp4')]
        >>> candidates("x.mp4", "out", Path("/b/out/x/run"))[1:]
        [PosixPath('/b/x.mp4')]
    """
    now = outputs_of(directory)
    if Path(saved).is_absolute():
        found = [Path(saved)]
        if Path(outputs).is_absolute():
            found.append(Path(os.path.normpath(now / os.path.relpath(saved, outputs))))
    else:
        found = [Path(saved).absolute()]
        parts = Path(outputs).parts
        if (
            not Path(outputs).is_absolute()
            and parts
            and now.parts[-len(parts) :] == parts
            and ".." not in parts
        ):
            found.append(now.parents[len(parts) - 1] / saved)
    return list(dict.fromkeys(found))


def cache_of(saved: str, outputs: str, directory: Path, fingerprint: str) -> Path:
    """The cache to use for a run: where its prepared video is, else where one is, else where one
    may be made.

    Args:
        saved: ``paths.cache`` of the run's configuration.
        outputs: ``paths.outputs`` of the same configuration.
        directory: The run directory as it is found today.
        fingerprint: Of the run's video: the name of its folder in the cache.
    """
    places = candidates(saved, outputs, directory)
    for good in (
        lambda cache: (cache / fingerprint).is_dir(),
        Path.is_dir,
        lambda cache: cache.parent.is_dir(),
    ):
        fitting = [cache for cache in places if good(cache)]
        if fitting:
            return fitting[0]
    return Path(
        Path(saved).name
    ).absolute()  # a run from another machine, whose folders are not here
