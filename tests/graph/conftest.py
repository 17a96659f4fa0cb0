"""The built-in models on one thread, small damaged pictures, and one store, so that no picture is diagnosed twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnr.graph import Context, Store, build_graph, open_checkpoints
from rnr.graph.store import ImageRef


@pytest.fixture(scope="session")
def models() -> tuple[Any, Any]:
    """Reasoner and restorer."""
    import torch

    from rnr.reasoner import Reasoner
    from rnr.restorer import RestorePipeline

    torch.set_num_threads(1)
    return Reasoner.from_pretrained("built-in"), RestorePipeline.from_pretrained("built-in")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def damaged(photographs: dict[str, np.ndarray]) -> Callable[..., np.ndarray]:
    """uint8 (128, 128, 3): a photograph with these kinds at these severities."""
    from rnr.degradation.photographs import to_tensor, to_uint8
    from rnr.degradation.synthesize import degrade, prescribe

    def make(name: str = "astronaut", seed: int = 0, **severities: float) -> np.ndarray:
        clean = photographs[name][30:158, 150:278]
        return to_uint8(degrade(to_tensor(clean), prescribe(severities, seed))) if severities else clean

    return make


@pytest.fixture(scope="session")
def dark(store: Store, damaged: Callable[..., np.ndarray]) -> ImageRef:
    """Dark and noisy: what the agent can help."""
    return store.put(damaged(low_light=60, noise=30))


@pytest.fixture
def context(models: tuple[Any, Any], store: Store) -> Callable[..., Context]:
    return lambda **settings: Context(**{"reasoner": models[0], "restorer": models[1], "store": store, **settings})


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Any]:
    """The graph with a database of its own."""
    with open_checkpoints(tmp_path / "threads.sqlite") as saver:
        yield build_graph(saver)


class FixedRestorer:
    """A restorer that returns what `result` makes of the pixels, and counts its calls."""

    def __init__(self, result: Callable[[np.ndarray], np.ndarray], name: str = "fixed") -> None:
        self.result, self.calls = result, 0
        self.identity, self.steps = {"model": name, "model_hash": ""}, 1

    def restore(self, pixels_HWC3: np.ndarray, source: Any, intent: Any = None, **settings: Any) -> Any:
        from rnr.restorer import RestoreResult

        self.calls += 1
        pixels = np.asarray(self.result(pixels_HWC3), np.float32)
        return RestoreResult(pixels_HWC3=pixels, untouched=False, settings=settings, seconds=0.0)


@pytest.fixture
def fixed() -> type[FixedRestorer]:
    return FixedRestorer


@pytest.fixture(scope="session")
def oracle(damaged: Callable[..., np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """The clean picture behind `noisy`."""
    return lambda pixels: damaged() / np.float32(255)


@pytest.fixture(scope="session")
def rainy(store: Store, damaged: Callable[..., np.ndarray]) -> ImageRef:
    """What the restorer undoes to the judge's liking."""
    return store.put(damaged(rain=60))


@pytest.fixture(scope="session")
def noisy(store: Store, damaged: Callable[..., np.ndarray]) -> ImageRef:
    """So much noise that no judge misses it."""
    return store.put(damaged(noise=60))
