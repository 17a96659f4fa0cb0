"""Restoration in a latent space: an autoencoder, a dual codebook, and a Transformer that predicts codes (IQPIR);
and one restorer for people and machines, by prompts of tasks (UniRestore)."""

from __future__ import annotations

from rnr.degradation._lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "rnr.restorer.latent.autoencoder": ("Autoencoder",),
        "rnr.restorer.latent.codebook": ("Codebook", "DualCodebook"),
        "rnr.restorer.latent.codes": ("CodePredictor",),
        "rnr.restorer.latent.quality_adapter": ("QualityAdapter", "load_adapter"),
        "rnr.restorer.latent.restorer": ("LatentRestorer",),
        "rnr.restorer.latent.task_restorer": ("TaskRestorer",),
        "rnr.restorer.latent.tasks": ("TaskNetwork",),
    },
)
