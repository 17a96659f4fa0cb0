"""The models of a command, loaded when first used."""

from __future__ import annotations

import os
import platform
import threading
from functools import cached_property, lru_cache
from importlib import metadata
from typing import TYPE_CHECKING

from rnr import __version__
from rnr.degradation.loading import BUILT_IN, device_named, explained, one_at_a_time

if TYPE_CHECKING:
    from rnr.degradation.protocols import Restorer, Scorer
    from rnr.reasoner import Reasoner
    from rnr.reasoner.client import ServerReasoner
    from rnr.unified import UnifiedModel


class Models:
    """Reasoner, restorer and scorer, each loaded when first used. Raises SetupError where one cannot be.

    `scorer`: None leaves the quality in a diagnosis as the reasoner wrote it. `unified`: a pair that was trained
    together, in the place of both; as `rnr.unified.load` takes it. `dtype`: what the restorer computes in.
    `quality_adapter`: a file by which its experts can be asked for a quality.
    """

    def __init__(
        self, reasoner: str = BUILT_IN, restorer: str = BUILT_IN, device: str = "auto", scorer: str | None = None,
        unified: str | None = None, dtype: str | None = None, quality_adapter: str | None = None,
    ) -> None:  # fmt: skip
        self.names, self.device_wanted, self.scorer_name = (reasoner, restorer), device, scorer
        self.unified, self.dtype, self.quality_adapter = unified, dtype, quality_adapter

    def load(self) -> None:
        """All that were named, now rather than when they are used."""
        _ = self.reasoner, self.pipeline, self.scorer

    def another(self) -> Models:
        """The same models, to be loaded once more: for another thread."""
        more = (self.scorer_name, self.unified, self.dtype, self.quality_adapter)
        return Models(*self.names, self.device_wanted, *more)

    @property
    def asked(self) -> dict[str, str]:
        """The names by which a result is known again; others only where they were named."""
        names = dict(zip(("reasoner", "restorer"), self.names))
        more = {"scorer": self.scorer_name, "unified": self.unified, "dtype": self.dtype,
                "quality_adapter": self.quality_adapter}  # fmt: skip
        return names | {role: name for role, name in more.items() if name}

    @cached_property
    def device(self) -> str:
        return device_named(self.device_wanted)

    @property
    def reasoner(self) -> Reasoner | ServerReasoner:
        with one_at_a_time:  # threads share the one that is loaded
            return self._reasoner

    @cached_property
    def _reasoner(self) -> Reasoner | ServerReasoner:
        if self.unified:
            return self._pair.reasoner
        quiet()
        from rnr.reasoner import load

        return load(self.names[0], self.device_wanted)

    @cached_property
    def _pair(self) -> UnifiedModel:
        quiet()
        from rnr.unified import load

        return load(str(self.unified), self.device_wanted)

    @property
    def scorer(self) -> Scorer | None:
        with one_at_a_time:
            return self._scorer

    @cached_property
    def _scorer(self) -> Scorer | None:
        if self.scorer_name is None:
            return None
        quiet()
        from rnr.quality import load

        return load(self.scorer_name, self.device_wanted)

    @property
    def at_once(self) -> int:
        """Pictures that the reasoner takes at the same time: one, or the `workers` of a server's client."""
        return getattr(self.reasoner, "workers", 1)

    @property
    def pipeline(self) -> Restorer:
        with one_at_a_time:
            return self._pipeline

    @cached_property
    def _pipeline(self) -> Restorer:
        if self.unified:
            return self._pair
        quiet()
        from rnr.restorer import load

        restorer = load(self.names[1], self.device_wanted, dtype=self.dtype)
        if self.quality_adapter is not None:
            from rnr.restorer.latent import load_adapter

            with explained("--quality-adapter"):
                load_adapter(self.quality_adapter, restorer)
        return restorer


_held, _guard = lru_cache(maxsize=2)(Models), threading.Lock()


def shared_models(reasoner: str, restorer: str, device: str, scorer: str | None = None) -> Models:
    """The same models for all threads of a program; those that were named last are kept."""
    with _guard:
        return _held(reasoner, restorer, device, scorer)


def quiet() -> None:
    """The libraries' own progress bars and notices would tear ours."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import diffusers.utils.logging as diffusers_logging
    import transformers.utils.logging as transformers_logging

    for logging in (diffusers_logging, transformers_logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()


def versions() -> dict[str, str]:
    """What made a result: this release, the Diagnosis schema, torch, Python."""
    from rnr.degradation.diagnosis import SCHEMA_VERSION

    ours = {"reason-and-restore": __version__, "diagnosis_schema": SCHEMA_VERSION}
    return {**ours, "torch": metadata.version("torch"), "python": platform.python_version()}
