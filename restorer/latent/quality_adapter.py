"""The plug-in of IQPIR: a quality score conditions the experts of the chain, by an optional, trained file.

    pipe = rnr.restorer.load("built-in")
    load_adapter("runs/adapter/quality_adapter.safetensors", pipe)
    pipe.restore(pixels_HWC3, record, Intent(quality=90))

No layer of an expert changes. The score 0..100, embedded as for the predictor of codes, scales and shifts its blocks
beside time and severity: the input that `rnr.unified` conditions by (`hidden`). The projections begin at zero and have
no bias: an untrained adapter restores as none does, bit for bit, and so does a trained one where no quality is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rnr.degradation.files import hash_of
from rnr.restorer.expert import ExpertNetwork, Experts
from rnr.restorer.expert_train import grown
from rnr.restorer.latent.codes import QualityEmbedding
from rnr.restorer.network_file import read_network, write_network

if TYPE_CHECKING:
    from rnr.degradation.protocols import Restorer

WIDTH = 32  # of the embedded score; a choice
FILE = "quality_adapter.safetensors"


class QualityAdapter(nn.Module):
    """The embedding of a score, and its projections into the blocks of each expert.

    Args:
        networks: Experts by kind, as `conditioned` makes them; their projections are the adapter's.

    Attributes:
        identity: `model` and `model_hash` of its file.
    """

    def __init__(self, networks: Mapping[str, ExpertNetwork]) -> None:
        super().__init__()
        self.embedding = QualityEmbedding(WIDTH)
        self.films = nn.ModuleDict({kind: films_of(network) for kind, network in networks.items()})
        self.identity: dict[str, Any] = {"model": "untitled", "model_hash": ""}

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def hidden(self, quality: float) -> dict[str, torch.Tensor]:
        """What each expert is conditioned on (1, WIDTH), by kind, for a score 0..100."""
        with torch.no_grad():
            embedded = self.embedding(torch.tensor([float(quality)], device=self.device))
        return dict.fromkeys(self.films, embedded)


def conditioned(experts: Experts | None) -> dict[str, ExpertNetwork]:
    """Copies of experts by kind that take a score, with projections of zeros; float types and devices stay.

    Raises:
        ValueError: For a restorer without experts, and for experts that are conditioned on something already.
    """
    kinds = list(experts.networks) if experts is not None else []
    already = [kind for kind in kinds if experts is not None and experts[kind].config["hidden"]]
    if experts is None or not kinds or already:
        problem = f"{', '.join(already)} conditioned already" if already else "no experts"
        raise ValueError(f"{problem}; an adapter goes with the experts of built-in or of `rnr train expert`")
    return {kind: conditioned_expert(experts[kind]) for kind in kinds}


def conditioned_expert(network: ExpertNetwork) -> ExpertNetwork:
    """A copy of one expert that takes a score."""
    larger = grown(network, (), hidden=WIDTH).eval()
    nn.Module.to(larger, network.device)
    if network.config["widths"]:
        larger.cast(network.head.weight.dtype)
    return larger


def films_of(network: nn.Module) -> nn.ModuleList:
    """The projections of such an expert, in the order of its modules; shared, not copied."""
    films = [getattr(module, "film", None) for module in network.modules()]
    return nn.ModuleList(film for film in films if film is not None)


def save_adapter(adapter: QualityAdapter, path: Path, card: Mapping[str, Any]) -> Path:
    """Embedding and projections in half precision in one file, whole or not at all."""
    write_network(adapter.state_dict(), path, {"width": WIDTH, "kinds": list(adapter.films)}, card)
    return path


def load_adapter(path: str | Path, restorer: Restorer) -> QualityAdapter:
    """Plug an adapter into a restorer, which can be asked for a quality from then on.

    Args:
        path: What `rnr train quality-adapter` wrote.
        restorer: A `RestorePipeline` of experts, changed in place.

    Raises:
        OSError: For a file that is missing, broken, something else, or of other experts, and for a restorer without
            experts; the restorer is as it was.

    Example:
        >>> from rnr.restorer import load
        >>> pipe = load("built-in")
        >>> path = save_adapter(QualityAdapter(conditioned(pipe.experts)), Path(FILE), {})  # untrained
        >>> load_adapter(path, pipe).identity["model"]
        'quality adapter quality_adapter.safetensors'
    """
    try:
        tensors = read_network(Path(path)).tensors
        networks = conditioned(getattr(restorer, "experts", None))
        adapter = QualityAdapter(networks)
        adapter.load_state_dict(tensors)
    except Exception as error:
        problem = f"{path}: no quality adapter for this restorer ({str(error).splitlines()[0]})"
        raise OSError(f"{problem}; train one on its experts with `rnr train quality-adapter`") from error
    adapter.identity = {"model": f"quality adapter {path}", "model_hash": hash_of([Path(path)])}
    pipe: Any = restorer
    pipe.experts.networks.update(networks)
    pipe.quality_adapter = adapter.to(pipe.device).eval().requires_grad_(False)
    return adapter
