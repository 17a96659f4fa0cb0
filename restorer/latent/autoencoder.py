"""The autoencoder of the latent restorers: diffusers' `AutoencoderKL` or `VQModel`, unmodified, by name.

    autoencoder = Autoencoder.from_pretrained("built-in")             # or a folder or a hub name
    latent, features = autoencoder.encode(image_BCHW)                 # [0, 1] -> about unit variance
    image_BCHW = autoencoder.decode(latent)

A model with 3 k^2 input channels sees the picture pixel-unshuffled by k. The built-in one has k = 4 and no step down
(f = 4), without the convolutions at full resolution that would take most of the time. GroupNorm averages over the whole
of what it sees, so that a tile differs from the whole picture: `TILE` px are computed at once, and
tests/restorer/latent says how much the seam shows.

Shapes: image_BCHW in [0, 1], latent_BDHW at 1/f; features: the encoder's, of each resolution, the finest first.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, VQModel
from torch import nn
from torch.nn import functional

from rnr.restorer.expert import channels_last
from rnr.restorer.tiling import tiled

BUILT_IN = Path(__file__).parent.parent / "weights" / "latent"
FOLDER = "autoencoder"
CLASSES: dict[str, Any] = {"AutoencoderKL": AutoencoderKL, "VQModel": VQModel}
TILE, MARGIN = 768, 112  # px of a tile's core and of its context: the convolutions of both halves reach 92 px
WIDTHS, LATENT, UNSHUFFLE = (112,), 16, 4  # of the built-in one: 1.7 M weights, 3.4 MB in half precision. 16 linear
# combinations of 48 values of a cell of 4 x 4 px give 37.2 dB on Kodak24, 8 give 30.1 (docs/lab-log.md)
GROUPS = 16
Repair = Callable[[int, torch.Tensor], torch.Tensor]  # number of a feature map, the map -> the map
Fuse = Callable[
    [int, torch.Tensor, list[torch.Tensor]], torch.Tensor
]  # number of an up block, state, features -> state


class Autoencoder(nn.Module):
    """Pictures to latents and back.

    Args:
        model: An `AutoencoderKL` or a `VQModel`; the latents of the latter lie on its own codebook.

    Raises:
        ValueError: For a model whose input is no picture.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.unshuffle = round((model.config["in_channels"] / 3) ** 0.5)
        if 3 * self.unshuffle**2 != model.config["in_channels"]:
            raise ValueError(f"an autoencoder of pictures has 3, 12, ... inputs, not {model.config['in_channels']}")

    @classmethod
    def from_pretrained(cls, name: str | Path = "built-in", **options: Any) -> Autoencoder:
        """`built-in`, a folder, or a hub name; safetensors alone. The class is the one that config.json names.

        That of a whole pipeline lies in its folder `vae`: `stabilityai/sd-turbo/vae`.

        Raises:
            OSError: For what is missing or broken; it names the file and the remedy.
        """
        where, subfolder = place_of(str(folder_of(name)))
        dtype = options.pop("torch_dtype", None) or options.pop("dtype", None) or torch.float32
        kind = class_named(where, subfolder)
        try:
            model = kind.from_pretrained(where, subfolder=subfolder, use_safetensors=True, torch_dtype=dtype)
        except Exception as error:
            problem = f"{where}: cannot load a {kind.__name__} ({str(error).splitlines()[0]})"
            raise OSError(f"{problem}; it needs config.json and diffusion_pytorch_model.safetensors") from error
        return cls(model.to(memory_format=torch.channels_last).eval())

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> None:
        """As the class of diffusers saves it."""
        self.model.save_pretrained(save_directory, safe_serialization=True)

    @property
    def factor(self) -> int:
        """How much smaller than the picture the latents are, f."""
        return self.unshuffle * 2 ** (len(self.model.config["block_out_channels"]) - 1)

    @property
    def channels(self) -> int:
        """Channels of a latent, D."""
        return int(self.model.config["latent_channels"])

    @property
    def width(self) -> int:
        """Channels of the coarsest features."""
        return int(self.model.config["block_out_channels"][-1])

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def encode(self, image_BCHW: torch.Tensor, repair: Repair | None = None) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The latent (the posterior's mean) and the encoder's features; height and width are multiples of `factor`.

        `repair` gets the number of each feature map and the map; what it returns goes on through the encoder.
        """
        moments, features = self.moments(image_BCHW, repair)
        latent = moments.chunk(2, 1)[0] if isinstance(self.model, AutoencoderKL) else self.model.quantize(moments)[0]
        return self.scaled(latent.float()), features

    def moments(
        self, image_BCHW: torch.Tensor, repair: Repair | None = None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """What the encoder says of the posterior, and its features on the way: each resolution, then the middle."""
        seen = functional.pixel_unshuffle(2 * image_BCHW - 1, self.unshuffle)
        encoder, features = self.model.encoder, []
        h = encoder.conv_in(channels_last(seen.to(next(self.model.parameters()).dtype)))
        for number, block in enumerate([*encoder.down_blocks, encoder.mid_block]):
            h = block(h) if repair is None else repair(number, block(h))
            features.append(h)
        h = encoder.conv_out(encoder.conv_act(encoder.conv_norm_out(features[-1])))
        return (h if self.model.quant_conv is None else self.model.quant_conv(h)), features

    def decode(
        self, latent_BDHW: torch.Tensor, features: list[torch.Tensor] | None = None, condition: Fuse | None = None
    ) -> torch.Tensor:
        """The picture, float32, not limited to [0, 1].

        `condition` changes the decoder's hidden state by the encoder's features: it gets the number of the up block
        that comes next (their number after the last one), the state, and the features.
        """
        latent = channels_last(self.unscaled(latent_BDHW).to(next(self.model.parameters()).dtype))
        if condition is None:
            options = {"force_not_quantize": True} if isinstance(self.model, VQModel) else {}
            shown = self.model.decode(latent, **options).sample
        else:
            shown = self.fused(latent, features or [], condition)
        return functional.pixel_shuffle(shown.float(), self.unshuffle) / 2 + 0.5

    def fused(self, latent_BDHW: torch.Tensor, features: list[torch.Tensor], condition: Fuse) -> torch.Tensor:
        """The decoder's forward, written out."""
        decoder, conv = self.model.decoder, self.model.post_quant_conv
        seen = latent_BDHW if self.model.config.get("norm_type") == "spatial" else None  # of a VQModel
        h = decoder.conv_in(latent_BDHW if conv is None else conv(latent_BDHW))
        h = decoder.mid_block(h, seen)
        for number, block in enumerate(decoder.up_blocks):
            h = block(condition(number, h, features), seen)
        h = condition(len(decoder.up_blocks), h, features)
        h = decoder.conv_norm_out(h) if seen is None else decoder.conv_norm_out(h, seen)
        return decoder.conv_out(decoder.conv_act(h))

    def scaled(self, latent: torch.Tensor) -> torch.Tensor:
        """The model's own latents to those of about unit variance."""
        return (latent - (self.model.config.get("shift_factor") or 0.0)) * self.model.config["scaling_factor"]

    def unscaled(self, latent: torch.Tensor) -> torch.Tensor:
        """The inverse of `scaled`."""
        return latent / self.model.config["scaling_factor"] + (self.model.config.get("shift_factor") or 0.0)

    @torch.no_grad()
    def round_trip(self, image_1CHW: torch.Tensor, tile: int = TILE) -> torch.Tensor:
        """A picture of any size, encoded and decoded, in [0, 1]."""

        def both(part: torch.Tensor) -> torch.Tensor:
            return self.decode(self.encode(part.to(self.device))[0]).clamp(0, 1)

        return tiled(both, [image_1CHW], tile, self.factor, MARGIN)


def folder_of(name: str | Path) -> Path:
    """Where the autoencoder of this name lies, if it is `built-in` or a folder; a hub name is as it was."""
    return BUILT_IN / FOLDER if str(name) == "built-in" else Path(name)


def place_of(name: str) -> tuple[str, str | None]:
    """A folder or a repository, and the folder in it."""
    path = Path(name)
    if path.is_dir():
        inside = not (path / "config.json").is_file() and (path / "vae" / "config.json").is_file()
        return name, "vae" if inside else None
    parts = name.split("/")
    return ("/".join(parts[:2]), parts[2]) if len(parts) == 3 and remote("/".join(parts[:2])) else (name, None)


def class_named(where: str, subfolder: str | None = None) -> Any:
    """The class of diffusers that config.json names. OSError for none, or one that is no autoencoder of ours."""
    folder = Path(where) / (subfolder or "")
    path = folder / "config.json"
    try:
        config = (
            json.loads(path.read_text(encoding="utf-8"))
            if Path(where).is_dir() or not remote(where)
            else AutoencoderKL.load_config(where, subfolder=subfolder)
        )
    except Exception as error:
        raise OSError(f"{path}: no autoencoder here ({str(error).splitlines()[0]}); name built-in, or a folder or hub "
                      "name of an AutoencoderKL or VQModel") from error  # fmt: skip
    if config.get("_class_name") not in CLASSES:
        raise OSError(f"{path}: a {config.get('_class_name')}; an autoencoder is one of {', '.join(CLASSES)}")
    return CLASSES[config["_class_name"]]


def remote(name: str) -> bool:
    """Whether it could be the name of a repository on a hub."""
    return name.count("/") == 1 and not name.startswith((".", "/"))


def small(latent: int = LATENT, widths: tuple[int, ...] = WIDTHS, unshuffle: int = UNSHUFFLE) -> Any:
    """The built-in one's shape with random weights; no attention, so that a tile costs what its pixels cost."""
    count, planes = len(widths), 3 * unshuffle**2
    return AutoencoderKL(
        in_channels=planes, out_channels=planes, latent_channels=latent, block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * count, up_block_types=("UpDecoderBlock2D",) * count,
        norm_num_groups=GROUPS, mid_block_add_attention=False, use_quant_conv=False, use_post_quant_conv=False,
        sample_size=64, scaling_factor=1.0, force_upcast=False,
    )  # fmt: skip
