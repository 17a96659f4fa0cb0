"""The mean log power spectrum of a picture's small windows, and its cepstrum: blur, resampling and noise show in them.

A convolution multiplies the spectrum. Averaged over many windows a photograph's own spectrum is smooth and falls alike
in all directions; what is left in the mean logarithm are the lines and rings at which a point spread function lets
nothing through, the empty band above what a low resolution can hold, and the floor of the noise. A motion's lines stand
across its direction, as far apart as it is short: the cepstrum shows them as a pair of points (Rom, "On the cepstrum of
two-dimensional functions", IEEE Trans. Inf. Theory 1975).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import luma

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

WINDOW = 64  # px of a window; they overlap by half: a choice
FLOOR = 1e-4  # of the power: about what rounding to 8 bits leaves


def log_spectrum(image_BCHW: torch.Tensor) -> torch.Tensor:
    """Planes (B, 4, WINDOW, WINDOW) of pictures in [0, 1] of at least WINDOW px a side, the lowest frequency in the
    middle: the mean of the windows' log power, the log of their mean power, and the cepstrum of either.

    The spectra are natural logarithms of luma's power, divided by 3, plus 1; the cepstra are multiplied by 4.
    """
    grey = luma(image_BCHW) - 0.5
    windows = torch.nn.functional.unfold(grey, WINDOW, stride=WINDOW // 2).transpose(1, 2)
    windows = windows.reshape(len(grey), -1, WINDOW, WINDOW)
    fade = torch.hann_window(WINDOW, periodic=False, device=grey.device, dtype=grey.dtype)
    windows = (windows - windows.mean((2, 3), keepdim=True)) * fade[:, None] * fade
    power = torch.fft.fft2(windows).abs() ** 2
    log = torch.stack([(power + FLOOR).log().mean(1), (power.mean(1) + FLOOR).log()], 1)
    cepstrum = torch.fft.ifft2(log).real
    cepstrum[..., 0, 0] = 0  # the mean: the picture's contrast
    return torch.cat([_centred(log) / 3 + 1, 4 * _centred(cepstrum)], 1)


def _centred(plane_BCHW: torch.Tensor) -> torch.Tensor:
    return torch.fft.fftshift(plane_BCHW, dim=(2, 3))
