"""Which configurations are believed: what a ``_target_`` may name, on the command line and in a run directory.

A run directory may come from a stranger. Its configuration says which video, backbone and chunks it has; it cannot make
us import or call anything that our own conf/ does not, or read an environment variable.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stdo.foreign import printable
from stdo.rundir import refuse_links
from stdo.runfiles import read_config, settings_of
from stdo.types import UserError

TRUSTED = ("stdo.", "torch.optim.", "pytorch_lightning.")
"""Only what these packages define may be named by a ``_target_``, wherever a configuration comes from."""

CONFIG_KEYS = [
    "backbone", "budget", "checkpoint_seconds", "chunking", "chunks", "degrade", "init", "logger", "method", "name",
    "optim", "patches", "paths", "sampler", "scale", "scorer", "seed", "sharing", "study", "trainer", "video",
]  # fmt: skip
"""What the configuration of a run directory must have for the run to be built again."""


NEVER_BUILT: dict[str, Any] = {
    "scorer": {
        "name": "bicubic",
        "measure": {
            "_target_": "stdo.chunks.score.ByPsnr",
            "upscale": {"_target_": "stdo.video.degrade.BicubicUpscaler", "scale": "${scale}"},
        },
    },
    "optim.optimizer": {"_target_": "torch.optim.Adam", "_partial_": True},
    "optim.schedule": {"_target_": "stdo.training.schedule.cosine", "_partial_": True},
    "trainer._target_": "pytorch_lightning.Trainer",
    "trainer._partial_": True,
    "logger": None,
    "init": {"name": "scratch", "weights": None, "start": None},
    "sharing.bicubic": 0,
}
"""What takes the place of the parts of a finished run that score and train: they may be the user's own, and are not
needed again; chunks.npz says how many chunks have no network."""


def conf_dir() -> Path:
    """The configuration tree: inside an installed package, or beside ``src`` in a checkout."""
    inside = Path(__file__).parent / "conf"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "conf"


def load_config(directory: Path) -> DictConfig:
    """The configuration of a run directory, which may be a stranger's: plain values alone.

    Raises UserError when it is not one.
    """
    try:
        refuse_links(directory)
        text = read_config(directory)
        settings_of(text, f"run={directory}: config.yaml")  # a mapping whose parts are what they must be
        config = OmegaConf.create(text)
    except UserError:
        raise
    except (OSError, OmegaConfBaseException, ValueError, AssertionError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"run={directory}: not a run directory (no readable config.yaml in it)") from error
    if not isinstance(config, DictConfig):
        raise UserError(f"run={directory}: its config.yaml is not a configuration")
    for value in _texts(OmegaConf.to_container(config, resolve=False)):
        if "${" in value:  # ours are written with every value in place; these could read environment variables
            raise UserError(f"run={directory}: config.yaml holds {printable(value[:60])}: must be plain values")
    lacking = [key for key in CONFIG_KEYS if key not in config]
    if lacking:
        raise UserError(f"run={directory}: is of another version (no {', '.join(lacking)} in its config.yaml)")
    return config


def refuse_untrusted(settings: Any) -> None:
    """Raise UserError for a ``_target_`` that is not defined in one of `TRUSTED`.

    The name alone proves nothing: ``stdo.files.os.system`` begins well.
    """
    for target in _targets(settings):
        found = get_object(target) if target.startswith(TRUSTED) else None
        if not f"{getattr(found, '__module__', None)}.".startswith(TRUSTED):
            raise UserError(f"_target_={target}: must be defined in one of {', '.join(TRUSTED)}")


def refuse_foreign(directory: Path, run: DictConfig) -> None:
    """Raise UserError for a ``_target_`` in a run directory's configuration that conf/ does not name in its group."""
    for key, part in run.items():
        group = str(key)
        named = re.fullmatch(r"[a-z]{1,40}", group) is not None  # no path that leads out of conf/
        files = (conf_dir() / group).glob("*.yaml") if named else ()
        known = {target for file in files for target in _targets(_plain(OmegaConf.load(file)))}
        for target in _targets(_plain(part)):
            if target not in known:
                allowed = f"must be one of {', '.join(sorted(known))}" if known else "nothing is built of this"
                where = f"run={directory}: config.yaml: {printable(group[:60])}"
                raise UserError(f"{where}: _target_={printable(target[:60])}: {allowed}")


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node


def _targets(node: Any) -> Iterator[str]:
    """Every ``_target_`` in nested settings."""
    if isinstance(node, dict) and "_target_" in node:
        yield str(node["_target_"])
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _targets(child)


def _texts(node: Any) -> Iterator[str]:
    """Every text in nested settings, names too."""
    if isinstance(node, str):
        yield node
    for child in [*node, *node.values()] if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _texts(child)
