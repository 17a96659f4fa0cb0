"""One leg's network: a dense residual U-Net that undoes one kind of degradation.

Plain 3x3 convolutions without normalisation, as in EDSR (Lim et al., CVPRW 2017) and DRUNet (Zhang et al., TPAMI
2021): for one kind they learn in minutes what depthwise blocks for all kinds took hours for (docs/lab-log.md). The
network sees the picture at the start of the leg, x_1, and the bridge's state x_t; it predicts the velocity
v = x_0 - x_1, from which the estimate of the leg's end is x_t + t v (InDI, Delbracio & Milanfar 2023, in velocity
form). At t = 1 the state is the start, so a network that was trained without a bridge is one with it, bit for bit. Time
enters by feature-wise scale and shift that begin at zero, and so does the severity of the finding where a network is
conditioned on it (rain: a crop does not tell how much light its mist adds). A third input, where the network takes one,
is the picture as physics would undo it (`Kind.invert`) by the factors of the diagnosis; without them it is the start.
For veils and darkness, which are nearly all global, that input comes from a look at the whole picture
(`overview.Overview`), and the U-Net adds to it; with no widths there is no U-Net, and the overview is the expert.
For blur it comes by the point spread function that the expert itself reads (`point_spread.PointSpreadReader`).

Shapes: image_BCHW in [0, 1]; height and width are multiples of `multiple`; t is (B,).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from rnr.degradation.files import whole
from rnr.degradation.kind import kind_named
from rnr.restorer.network_file import read_network
from rnr.restorer.overview import Overview
from rnr.restorer.point_spread import Factors, PointSpreadReader

TIME_WIDTH = 32  # a choice


class Residual(nn.Module):
    """x + conv(relu(conv(x) scaled and shifted by time, and by what a reader of the diagnosis adds (`hidden`)))."""

    def __init__(self, width: int, hidden: int = 0) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.steer = nn.Linear(TIME_WIDTH, 2 * width)
        self.film = nn.Linear(hidden, 2 * width, bias=False) if hidden else None
        for layer in (self.second, self.steer, self.film):
            if layer is not None:
                zero(layer)

    def forward(self, x_BCHW: torch.Tensor, time_BD: torch.Tensor) -> torch.Tensor:
        steered = self.steer(time_BD[:, :TIME_WIDTH])
        if self.film is not None:  # apart from `steer`, so that zeros change no bit of a sum
            steered = steered + self.film(time_BD[:, TIME_WIDTH:])
        scale, shift = steered[:, :, None, None].chunk(2, 1)
        return x_BCHW + self.second(functional.relu(torch.addcmul(shift, self.first(x_BCHW), 1 + scale)))


class Stage(nn.ModuleList):
    """Residual blocks of one resolution."""

    def __init__(self, width: int, count: int, hidden: int = 0) -> None:
        super().__init__(Residual(width, hidden) for _ in range(count))

    def forward(self, x_BCHW: torch.Tensor, time_BD: torch.Tensor) -> torch.Tensor:
        for block in self:
            x_BCHW = block(x_BCHW, time_BD)
        return x_BCHW


class ExpertNetwork(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Velocity of the leg of one kind.

    Args:
        kind: Name of the kind of degradation that this expert undoes.
        widths: Channels at 1/2, 1/4, 1/8 of the resolution.
        blocks: Residual blocks of each resolution, on the way down (all) and up (all but the last).
        physics: Whether it takes the picture as physics would undo it, and counts the velocity from that; with an
            overview it is the overview that does.
        overview: Whether it looks at the whole picture first; the velocity is counted from what that gives.
        reads: Whether it reads the severity of its kind (`severity`): a dose is counted from that.
        spread: Whether it reads the point spread function of the whole picture (blur); physics undoes that (`undo`).
        finding: Whether it is conditioned on the severity that the diagnosis gives.
        hidden: Width of what it is conditioned on beside the numbers (`rnr.unified`); 0: nothing.

    Example:
        >>> ExpertNetwork("noise", widths=(8, 16), blocks=(1, 1)).multiple  # of height and width
        4
    """

    @register_to_config
    def __init__(
        self,
        kind: str = "",
        widths: tuple[int, ...] = (64, 128, 256),
        blocks: tuple[int, ...] = (1, 1, 1),
        physics: bool = False,
        overview: bool = False,
        reads: bool = False,
        spread: bool = False,
        finding: bool = False,
        hidden: int = 0,
    ) -> None:
        super().__init__()
        self.glance = Overview(physics, hidden) if overview else None
        self.reader = PointSpreadReader() if spread else None
        if not widths:
            return
        self.reading = nn.Linear(2 * (widths[0] + widths[-1]), 1) if reads else None
        pairs = list(zip(widths, widths[1:]))
        self.intro = nn.Conv2d(12, widths[0], 3, padding=1)
        self.state = nn.Conv2d(12, widths[0], 3, padding=1, bias=False)
        self.undone = nn.Conv2d(12, widths[0], 3, padding=1, bias=False) if physics or overview or spread else None
        self.mix = nn.Conv2d(widths[0], 12, 3, padding=1) if spread else None  # how much of the inverse to take
        self.time = nn.Sequential(nn.Linear(3 if finding else 1, TIME_WIDTH), nn.GELU())
        self.down = nn.ModuleList(Stage(w, n, hidden) for w, n in zip(widths[:-1], blocks))
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, 2) for a, b in pairs)
        self.middle = Stage(widths[-1], blocks[-1], hidden)
        self.grow = nn.ModuleList(nn.Sequential(nn.Conv2d(b, 4 * a, 1), nn.PixelShuffle(2)) for a, b in pairs)
        self.up = nn.ModuleList(Stage(w, n, hidden) for w, n in zip(widths[:-1], blocks))
        self.head = nn.Conv2d(widths[0], 12, 3, padding=1)
        zero(self.head)
        zero(self.state)
        for layer in (self.undone, self.mix):
            if layer is not None:
                zero(layer)

    def cast(self, dtype: torch.dtype) -> None:
        """The U-Net in numbers of this type. What is read of a whole picture steers all of it and takes no time: that
        stays in float32, lest its rounding shifts whole tones."""
        for name, module in self.named_children():
            if name not in ("glance", "reader", "reading"):
                module.to(dtype)

    @property
    def multiple(self) -> int:
        """Height and width must be multiples of this."""
        return 2 ** len(self.config["widths"])

    @property
    def reach(self) -> int:
        """How far (px, a multiple of `multiple`) a pixel's velocity depends on its surroundings, but for the overview:
        3x3 convolutions add their own resolution, the sampling grid what it is."""
        blocks, levels = self.config["blocks"], len(self.config["widths"])
        if not levels:
            return 0
        convolutions = [2 * n * (1 if level == levels - 1 else 2) for level, n in enumerate(blocks)]
        convolutions[0] += 2  # intro and head
        reach = self.multiple + sum(n * 2 ** (level + 1) for level, n in enumerate(convolutions))
        return reach + -reach % self.multiple

    def forward(
        self,
        x_BCHW: torch.Tensor,
        start_BCHW: torch.Tensor,
        t: torch.Tensor,
        inverse_BCHW: torch.Tensor | None = None,
        severity_B: torch.Tensor | None = None,
        hidden_BD: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The velocity v (B, 3, H, W), float32: x_t + t v estimates the end of the leg.

        Args:
            x_BCHW: The bridge's state x_t.
            start_BCHW: The picture at the start of the leg.
            t: (B,), 0..1.
            inverse_BCHW: The start as physics would undo it; None where no factors are known. Of a network with an
                overview `self.glance.undo(whole picture, its inverse)`, of one that reads the point spread function
                `self.undo(start, self.reader.read(whole picture))`; of both None where the start is a whole picture.
            severity_B: Of the finding, 0..100 or NaN where it is not known; None: nowhere.
            hidden_BD: (B or 1, `hidden`) of a network that takes it; None: zeros.
        """
        if self.glance is not None and inverse_BCHW is None:
            inverse_BCHW = self.glance.undo(start_BCHW, hidden_BD=hidden_BD)
        if self.reader is not None and inverse_BCHW is None:
            inverse_BCHW = self.undo(start_BCHW, self.reader.read(start_BCHW))
        if not self.config["widths"]:
            assert inverse_BCHW is not None  # no U-Net: the overview is the expert
            return (inverse_BCHW - start_BCHW).float()
        dtype = self.head.weight.dtype  # the pictures themselves stay in float32

        def seen(image_BCHW: torch.Tensor) -> torch.Tensor:
            return channels_last(functional.pixel_unshuffle(image_BCHW, 2).to(dtype))

        time_BD = self.steering(t, severity_B, hidden_BD)
        h = self.intro(seen(start_BCHW - 0.5))
        if bool((t < 1).any()):
            h = h + self.state(seen(x_BCHW - start_BCHW))
        if self.undone is not None and inverse_BCHW is not None:
            h = h + self.undone(seen(inverse_BCHW - start_BCHW))
        *skips, h = self._down(h, time_BD)
        for stage, grow in reversed(list(zip(self.up, self.grow))):
            h = stage(skips.pop() + grow(h), time_BD)
        velocity = functional.pixel_shuffle(self.head(h).float(), 2)
        if self.mix is not None and inverse_BCHW is not None:
            velocity = velocity + functional.pixel_shuffle(self.mix(h).float(), 2) * (inverse_BCHW - start_BCHW)
        whole = self.config["physics"] or self.glance is not None
        return velocity + (inverse_BCHW - start_BCHW) if whole and inverse_BCHW is not None else velocity

    def steering(
        self, t: torch.Tensor, severity_B: torch.Tensor | None = None, hidden_BD: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What scales and shifts: time, the severity of the finding and `hidden` where the network takes them."""
        numbers = [1 - t]
        if self.config["finding"]:
            known = torch.full_like(t, torch.nan) if severity_B is None else severity_B.to(t)
            numbers += [known.nan_to_num() / 100, known.isfinite().to(t)]
        steering = self.time(torch.stack(numbers, 1).to(self.head.weight.dtype))
        if not self.config["hidden"]:
            return steering
        states = steering.new_zeros(len(t), self.config["hidden"]) if hidden_BD is None else hidden_BD.to(steering)
        return torch.cat([steering, states.expand(len(t), -1)], 1)

    def undo(self, image_BCHW: torch.Tensor, read: tuple[torch.Tensor, Factors]) -> torch.Tensor:
        """The pictures as physics would undo what `reader.read` found in them or in the whole of them, in [-0.5, 1.5];
        those that are not blurred as they are."""
        blurred_B, factors = read
        if not bool(blurred_B.any()):
            return image_BCHW
        undone = kind_named(self.config["kind"]).invert(image_BCHW, factors).clamp(-0.5, 1.5)
        return torch.where(blurred_B.view(-1, 1, 1, 1), undone.to(image_BCHW.dtype), image_BCHW)

    def _down(self, h_BCHW: torch.Tensor, time_BD: torch.Tensor) -> list[torch.Tensor]:
        """Features of each resolution, the coarsest last."""
        features = []
        for stage, shrink in zip(self.down, self.shrink):
            features.append(stage(h_BCHW, time_BD))
            h_BCHW = shrink(features[-1])
        return [*features, self.middle(h_BCHW, time_BD)]

    def features(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """Mean and deviation over the picture of each channel at the finest and the coarsest resolution, (B, D)."""
        seen = functional.pixel_unshuffle(image_BCHW - 0.5, 2).to(self.head.weight.dtype)
        maps = self._down(self.intro(channels_last(seen)), self.steering(torch.ones_like(image_BCHW[:, 0, 0, 0])))
        return torch.cat(
            [of(map_.float(), (2, 3)) for map_ in (maps[0], maps[-1]) for of in (torch.mean, torch.std)], 1
        )

    def severity(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """Severity (B,) of its kind in the pictures, 0..100, as it reads it (`reading.fit`)."""
        return self.severity_of(self.features(image_BCHW))

    def severity_of(self, features_BD: torch.Tensor) -> torch.Tensor:
        """The same from `features`."""
        assert self.reading is not None
        return 100 * self.reading(features_BD.to(self.reading.weight.dtype))[:, 0].float().clamp(0, 1)


def channels_last(x_BCHW: torch.Tensor) -> torch.Tensor:
    return x_BCHW.contiguous(memory_format=torch.channels_last)


def zero(layer: nn.Module) -> None:
    """Start as the identity: a block adds nothing until it has learned to."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class Experts(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """The experts of a restorer by kind: a folder with one safetensors file each, which says what it is.

    A file's metadata holds the network's configuration and its card (data, samples, hours, figures), so that a new
    kind is one more file and touches no other.

    Example:
        >>> experts = Experts({"noise": ExpertNetwork("noise")})
        >>> "noise" in experts, "haze" in experts
        (True, False)
    """

    config_name = "config.json"  # type: ignore[assignment]

    def __init__(self, networks: Mapping[str, ExpertNetwork] | None = None) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(dict(networks or {}))
        self.cards: dict[str, dict[str, Any]] = {}
        self.register_to_config()

    def __contains__(self, kind: str) -> bool:
        return kind in self.networks

    def __getitem__(self, kind: str) -> ExpertNetwork:
        return self.networks[kind]  # type: ignore[return-value]

    def save_pretrained(self, save_directory: str | Path, **_: Any) -> None:  # type: ignore[override]
        """Write `KIND.safetensors` in half precision for each expert, whole or not at all."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        for kind, network in self.networks.items():
            save_expert(network, folder / f"{kind}.safetensors", self.cards.get(kind, {}))  # type: ignore[arg-type]

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> Experts:  # type: ignore[override]
        """Read all experts of a folder.

        Raises:
            OSError: For a file that is broken or is no expert; it names the file.
        """
        experts = cls()
        for path in sorted(Path(folder).glob("*.safetensors")):
            network, card = load_expert(path)
            experts.networks[path.stem], experts.cards[path.stem] = network, card
        dtype = options.get("torch_dtype") or options.get("dtype") or torch.float32
        for each in experts.networks.values():
            each.cast(dtype)  # type: ignore[operator]
        return experts.eval()


def shape_of(network: ExpertNetwork) -> dict[str, Any]:
    """The arguments that make such a network."""
    names = ("kind", "widths", "blocks", "physics", "overview", "reads", "spread", "finding", "hidden")
    return {name: network.config[name] for name in names}


def save_expert(network: ExpertNetwork, path: Path, card: Mapping[str, Any]) -> None:
    """Write one expert in half precision, whole or not at all."""
    shape = shape_of(network)
    if not shape["hidden"]:
        del shape["hidden"]  # earlier releases read the file, too
    about = {"config": json.dumps(shape), "card": json.dumps(dict(card))}
    tensors = {name: p.detach().half().contiguous() for name, p in network.state_dict().items()}
    with whole(path) as part:
        save_file(tensors, str(part), metadata=about)


def load_expert(path: Path) -> tuple[ExpertNetwork, dict[str, Any]]:
    """One expert in float32, and its card. OSError names a file that is broken or is no expert."""
    try:
        config, card, tensors = read_network(path)
        network: ExpertNetwork = ExpertNetwork(**config)
        network.load_state_dict(tensors)
    except Exception as error:
        raise OSError(f"{path}: not an expert's weights ({error}); copy the file again") from error
    nn.Module.to(network, memory_format=torch.channels_last)  # type: ignore
    return network, card
