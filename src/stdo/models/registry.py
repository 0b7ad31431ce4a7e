"""The backbones by name."""

from typing import Any

from stdo.models.common import Backbone
from stdo.models.ecbsr import ECBSR
from stdo.models.edsr import EDSR
from stdo.models.espcn import ESPCN
from stdo.models.srcnn import SRCNN
from stdo.models.vdsr import VDSR
from stdo.models.wdsr import WDSR
from stdo.types import UserError

BACKBONES: dict[str, type[Backbone]] = {
    "espcn": ESPCN,
    "srcnn": SRCNN,
    "vdsr": VDSR,
    "edsr": EDSR,
    "wdsr": WDSR,
    "ecbsr": ECBSR,
}


def build(name: str, scale: int, **options: Any) -> Backbone:
    """A new backbone, its weights drawn from torch's global generator.

    name: a key of `BACKBONES`. options: the backbone's own arguments (``init``, ``residual``, `Backbone.settings`).
    Raises UserError for an unknown name, scale, init or residual.
    """
    if name not in BACKBONES:
        raise UserError(f"backbone={name}: must be one of {', '.join(BACKBONES)}")
    return BACKBONES[name](scale, **options)


def name_of(backbone: Backbone) -> str:
    """The key of `BACKBONES` under which the class of ``backbone`` is listed."""
    return next(name for name, kind in BACKBONES.items() if kind is type(backbone))
