"""From a name to a restorer: the one way, for everybody.

restorer = rnr.restorer.load("built-in")
restorer = rnr.restorer.load("recipes/qwen_image_edit.toml", device="auto")
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr.degradation.arithmetic import dtype_named
from rnr.degradation.errors import SetupError
from rnr.degradation.loading import BUILT_IN, device_named, explained, higher, one_at_a_time, recipe_of

if TYPE_CHECKING:
    from rnr.degradation.protocols import Restorer
    from rnr.restorer.network import RestorerNetwork
    from rnr.restorer.pipeline import RestorePipeline

NAMES = "built-in, a weights folder, a hub name, a recipe (.toml)."  # for --help
OURS = {  # classes of this project, and what they are called in an error; they take no options
    "RestorePipeline": "the built-in restorer",
    "LatentRestorer": "a latent restorer",
    "TaskRestorer": "a restorer of tasks",
}


def load(name: str | Path = BUILT_IN, device: str = "cpu", **options: Any) -> Restorer:
    """The restorer of this name, by the class that its model_index.json names.

    Args:
        name: `built-in`, a folder (of experts in diffusers' format, or what `rnr train codes` or `rnr train tasks`
            wrote), a hub name, or a
            recipe (a TOML file with `model = "..."` and options).
        device: auto, cpu, cuda, …
        options: Those of `QwenEditRestorer.from_pretrained` or `DiffusersRestorer.from_pretrained`; they overrule the
            recipe's, but for None. Experts take `dtype`: float32, or bfloat16, in which the path of the picture stays
            float32.

    Raises:
        SetupError: For what is missing or broken; it says what to do.

    Example:
        >>> load("built-in").steps
        1
    """
    model, wanted = recipe_of(str(name))
    wanted |= {name: value for name, value in options.items() if value is not None}
    with one_at_a_time, explained(model):
        if (found := higher(model, "restorer", device)) is not None:
            return found
        kind, device = pipeline_class(model), device_named(device)
        if device.startswith("cpu") and wanted.get("dtype") in ("fp16", "float16"):
            raise SetupError("fp16 is for GPUs: convolutions in it are slower than in float32 on a CPU; take bf16")
        if kind in OURS:
            dtype = wanted.pop("dtype", None) if kind == "RestorePipeline" else None
            if wanted:
                raise SetupError(f"{model}: {OURS[kind]} takes no {', '.join(wanted)}")
            return _ours(kind, model, device, dtype)
        if kind == "QwenImageEditPlusPipeline":
            from rnr.restorer.qwen_edit import QwenEditRestorer

            return QwenEditRestorer.from_pretrained(model, device=device, **wanted)
        from rnr.restorer.other_models import DiffusersRestorer

        return DiffusersRestorer.from_pretrained(model, device=device, **wanted)


def load_bridge(name: str | Path = BUILT_IN) -> RestorePipeline:
    """The same as `load` for those who need the bridge's own networks.

    Args:
        name: `built-in`, or a folder that `rnr train` wrote.

    Returns:
        The pipeline.

    Raises:
        SetupError: As `load`, and for another restorer.

    Example:
        >>> sorted(load_bridge("built-in").experts.networks)
        ['blur', 'compression', 'haze', 'low_light', 'low_resolution', 'noise', 'rain', 'snow']
    """
    from rnr.restorer.pipeline import RestorePipeline

    found = load(name)
    if isinstance(found, RestorePipeline):
        return found
    raise SetupError(f"{name}: this needs the bridge's weights; name built-in or a folder that `rnr train` wrote")


def network_of(name: str | Path) -> RestorerNetwork:
    """The network without experts that a folder of `rnr train restorer` holds. Raises SetupError where it has none."""
    network = load_bridge(name).network
    if network is None:
        raise SetupError(f"{name}: holds experts and no network of all kinds; name a folder of `rnr train restorer`")
    return network


def expert_file(name: str | Path, kind: str) -> Path:
    """Where the expert of a kind lies: the file itself, or that of a restorer (`built-in` or a folder)."""
    from rnr.restorer.pipeline import folder_of

    folder = folder_of(name)
    return folder / "experts" / f"{kind}.safetensors" if folder.is_dir() else folder


def _ours(kind: str, name: str, device: str, dtype: str | None) -> Restorer:
    from rnr.restorer import latent
    from rnr.restorer.pipeline import RestorePipeline

    if kind == "RestorePipeline":
        wanted = dtype_named(dtype or "float32", device)
        return RestorePipeline.from_pretrained(name, torch_dtype=wanted).to(device)
    return getattr(latent, kind).from_pretrained(name, device)


def pipeline_class(name: str) -> str:
    """The class that model_index.json names, of a folder or on a hub. Raises OSError."""
    if name == BUILT_IN or Path(name).is_dir():
        index = Path(name) / "model_index.json"
        try:
            return (
                json.loads(index.read_text(encoding="utf-8"))["_class_name"] if index.is_file() else "RestorePipeline"
            )
        except (ValueError, KeyError) as error:
            raise OSError(f"{index}: cannot be read ({error}); copy the folder again") from error
    from diffusers import DiffusionPipeline

    try:
        config: Any = DiffusionPipeline.load_config(name)
    except Exception as error:
        problem = f"{name}: neither a folder nor a model that can be fetched ({str(error).splitlines()[0]})"
        raise OSError(f"{problem}; it needs model_index.json") from error
    return config["_class_name"]
