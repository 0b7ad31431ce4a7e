"""What configurations may ask for, such as ``${studies:}``; registered by an import, for jobs in
other processes too."""

from omegaconf import OmegaConf

from stdo.cli.commands import COMMANDS
from stdo.config.help import listing
from stdo.config.settings import at_home
from stdo.config.studies import names

OmegaConf.register_new_resolver("pick", lambda choices, key: choices[key], replace=True)
"""``${pick:${choices},${scale}}``: the entry of a mapping that another setting names."""

OmegaConf.register_new_resolver("home", lambda path: at_home("paths.outputs", path), replace=True)
"""``${home:~/runs}``: with the home in place of ``~``, where Hydra itself makes a folder."""

OmegaConf.register_new_resolver("studies", lambda: ", ".join(names()), replace=True)
"""``${studies:}``: the names of the studies, for ``--help``."""

OmegaConf.register_new_resolver("settings", lambda *, _root_: listing(_root_), replace=True)
"""``${settings:}``: the settings of a command, for ``--help``."""

OmegaConf.register_new_resolver("example", lambda name: COMMANDS[name][1], replace=True)
"""``${example:train}``: how a command is called, for ``--help``."""
