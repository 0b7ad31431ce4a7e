"""Convert between float tensors and 8-bit pixels."""

import torch


def to_float(pixels_NHWC: torch.Tensor) -> torch.Tensor:
    """uint8 (N, h, w, 3) to float32 in [0, 1], (N, 3, h, w); the memory stays channels-last."""
    return pixels_NHWC.permute(0, 3, 1, 2).float().div_(255)


def to_uint8(image_NCHW: torch.Tensor) -> torch.Tensor:
    """Values in [0, 1] (N, 3, h, w) to the nearest of 256 levels, clamped: uint8 (N, h, w, 3)."""
    return image_NCHW.mul(255).round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def without_halo(sr_NCHW: torch.Tensor, border: int) -> torch.Tensor:
    """Cut ``border`` pixels off every side."""
    return sr_NCHW[..., border : sr_NCHW.shape[-2] - border, border : sr_NCHW.shape[-1] - border]
