"""The unified model on a latent diffusion transformer: Qwen-Image-Edit's, with LoRA, and any Qwen3-VL.

The same texts, bridge and losses; one restoration instead of legs. Rectified flow on the autoencoder's latents
(`rnr.restorer.edit_flow`): L_RF = ||v - (noise - clean)||^2. The hidden states of all kinds that are found are
averaged, and their projection, which begins at zero, is added to each token of the prompt's embedding. So an untrained
pair restores as the two models do apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rnr.degradation.photographs import to_uint8
from rnr.reasoner.finetune import LANGUAGE
from rnr.restorer.edit_train import EditRun, add_lora, flow_loss
from rnr.restorer.expert import zero
from rnr.restorer.result import RestoreResult
from rnr.unified.model import WIDTH, Hidden, UnifiedModel
from rnr.unified.text import Written

if TYPE_CHECKING:
    from rnr.unified.data import Restoration


class FlowModel(UnifiedModel):
    """See the module; `pipe` is a `QwenEditRestorer`."""

    def join(self) -> None:
        """See `UnifiedModel.join`."""
        self.transformer = self.pipe.pipe.transformer
        self.to_prompt = nn.Linear(WIDTH, self.transformer.config.joint_attention_dim, bias=False)
        zero(self.to_prompt)

    @property
    def conditioned(self) -> list[str]:
        return self.kinds

    def add_lora(self, rank: int, seed: int = 0) -> None:
        """Adapters on the transformer's attention and on the reasoner's text layers."""
        from peft import LoraConfig

        add_lora(self.pipe, EditRun(rank=rank, seed=seed))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.language.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=LANGUAGE))
        self.lora = rank

    def by(self, hidden: Hidden, *arguments: Any, **options: Any) -> RestoreResult:
        """See `UnifiedModel.by`."""
        states = torch.stack(list(hidden.values())).mean(0) if hidden else None
        with self.conditioning(states):
            return self.pipe.restore(*arguments, **options)

    @contextmanager
    def conditioning(self, condition_1D: torch.Tensor | None) -> Iterator[None]:
        """While this lasts, the transformer's prompt has the projection of a condition added."""

        def add(module: nn.Module, arguments: tuple, options: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
            words = options["encoder_hidden_states"]
            moved = words + self.to_prompt(condition_1D).to(words)[:, None]
            return arguments, options | {"encoder_hidden_states": moved}

        if condition_1D is None:
            yield
            return
        handle = self.transformer.register_forward_pre_hook(add, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()

    def flow_loss(
        self, made: Restoration, states_BSD: torch.Tensor, sequences: Sequence[Written], seed: int
    ) -> torch.Tensor:
        """L_RF of the crops, one by one, towards what is wished of them."""
        losses = []
        for i, diagnosis in enumerate(made.diagnoses):
            found = [k for k in diagnosis.present if k in made.wishes[i].remove]
            states = [self.conditions(states_BSD[i : i + 1], [sequences[i]], kind) for kind in found]
            condition = None if not states or states[0] is None else torch.stack(states).mean(0)  # type: ignore[arg-type]
            clean, degraded = to_uint8(made.target[i]), to_uint8(made.degraded[i])
            with self.conditioning(condition):
                wished = diagnosis.model_copy(update={"plan": found})
                losses.append(flow_loss(self.pipe, clean, degraded, wished.only(*found), seed + i))
        return torch.stack(losses).mean()
