"""The autoencoder: real classes by name, unmodified; round trips, tiles, training, and what goes wrong."""

import json
from typing import Any

import pytest
import skimage.data
import torch
from diffusers import AutoencoderKL, VQModel
from PIL import Image

from rnr.degradation.measure import psnr
from rnr.degradation.photographs import to_tensor
from rnr.restorer import BridgeScheduler, RestorePipeline
from rnr.restorer.latent.autoencoder import MARGIN, Autoencoder, place_of, small
from rnr.restorer.latent.autoencoder_train import AutoencoderObjective, linear_start, train_autoencoder
from rnr.training import Run

SHAPE: dict[str, Any] = {
    "block_out_channels": (8, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "mid_block_add_attention": False,
    "norm_num_groups": 4,
    "latent_channels": 4,
}
CHELSEA = to_tensor(skimage.data.chelsea()[40:240, 100:340])


@pytest.fixture(scope="module", params=["kl", "vq", "unshuffled"])
def folder(request, tmp_path_factory):
    """A tiny random checkpoint of each class, as a hub holds it."""
    path = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(1)
    if request.param == "vq":
        model: Any = VQModel(num_vq_embeddings=16, **SHAPE)
    else:
        model = AutoencoderKL(**SHAPE) if request.param == "kl" else small(4, (32, 32))
    model.save_pretrained(path)
    return path


def test_a_real_class_is_loaded_by_name_and_gives_what_it_gives_itself(folder):
    autoencoder = Autoencoder.from_pretrained(folder)
    name = json.loads((folder / "config.json").read_text())["_class_name"]
    assert type(autoencoder.model).__name__ == name
    image = torch.rand(2, 3, 32, 48)
    with torch.no_grad():
        latent, features = autoencoder.encode(image)
        seen = torch.nn.functional.pixel_unshuffle(2 * image - 1, autoencoder.unshuffle)
        coded = autoencoder.model.encode(seen)
        own = coded.latent_dist.mean if name == "AutoencoderKL" else autoencoder.model.quantize(coded.latents)[0]
        assert torch.allclose(autoencoder.unscaled(latent), own, atol=1e-5)
        shown = autoencoder.decode(latent)
    assert latent.shape == (2, 4, 32 // autoencoder.factor, 48 // autoencoder.factor) and shown.shape == image.shape
    assert features[-1].shape[1] == autoencoder.width


def test_a_picture_alone_is_what_it_is_in_a_batch(folder):
    autoencoder, image = Autoencoder.from_pretrained(folder), torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        together = autoencoder.decode(autoencoder.encode(image)[0])
        alone = torch.cat([autoencoder.decode(autoencoder.encode(one[None])[0]) for one in image])
    assert torch.allclose(together, alone, atol=1e-5)


def test_any_size_comes_back_in_its_size(folder):
    autoencoder = Autoencoder.from_pretrained(folder)
    for size in ((1, 1), (7, 33), (40, 21)):
        made = autoencoder.round_trip(torch.rand(1, 3, *size))
        assert made.shape == (1, 3, *size) and made.min() >= 0 and made.max() <= 1


def test_it_is_saved_with_a_pipeline_and_comes_back(tmp_path):
    torch.manual_seed(0)
    model: Any = AutoencoderKL(**SHAPE)
    RestorePipeline(None, BridgeScheduler(), None, model).save_pretrained(tmp_path)
    again = RestorePipeline.from_pretrained(tmp_path)
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        first, second = (Autoencoder(each.eval()).round_trip(image) for each in (model, again.autoencoder))
    assert torch.equal(first, second)


def test_that_of_a_pipeline_is_found_in_its_folder(tmp_path):
    model: Any = AutoencoderKL(**SHAPE)
    model.save_pretrained(tmp_path / "vae")
    assert Autoencoder.from_pretrained(tmp_path).factor == 2
    assert place_of("stabilityai/sd-turbo/vae") == ("stabilityai/sd-turbo", "vae")
    assert place_of("madebyollin/sdxl-vae-fp16-fix") == ("madebyollin/sdxl-vae-fp16-fix", None)


def test_what_is_no_autoencoder_is_named(tmp_path):
    with pytest.raises(OSError, match="no autoencoder here.*name built-in"):
        Autoencoder.from_pretrained(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    with pytest.raises(OSError, match="a UNet2DModel; an autoencoder is one of AutoencoderKL, VQModel"):
        Autoencoder.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderKL"}')
    with pytest.raises(OSError, match="it needs config.json and diffusion_pytorch_model.safetensors"):
        Autoencoder.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="3, 12, ... inputs, not 4"):
        Autoencoder(AutoencoderKL(in_channels=4, **SHAPE))


@pytest.mark.parametrize("name", ["chelsea", "coffee"])
def test_the_built_in_one_carries_a_photograph(name):
    image = to_tensor(getattr(skimage.data, name)()[40:232, 100:356])
    assert psnr(Autoencoder.from_pretrained().round_trip(image), image) > 30


def test_tiles_differ_little_from_the_whole_picture():
    autoencoder = Autoencoder.from_pretrained()
    image = to_tensor(skimage.data.chelsea()[:, :448])
    whole, tiles = (autoencoder.round_trip(image, tile) for tile in (768, 192))
    assert image.shape[-1] > 192 + MARGIN  # there are seams
    difference = 255 * (tiles - whole).abs()
    assert difference.mean() < 0.05 and difference.max() < 0.5  # levels; 0.006 and 0.04 when it was made


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for name in ("chelsea", "astronaut"):
        Image.fromarray(getattr(skimage.data, name)()[:260, :260]).save(folder / f"{name}.png")
    return folder


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr("rnr.restorer.latent.autoencoder_train.small", lambda: small(4, (48,)))
    monkeypatch.setattr("rnr.restorer.latent.autoencoder_train.MEASURED", 2)
    monkeypatch.setattr("rnr.restorer.latent.autoencoder_train.STAGES", ((1.01, 64, 2),))


def test_a_training_learns_and_a_resumed_one_is_an_unbroken_one(tmp_path, photographs):
    run = Run(out=tmp_path / "whole", samples=8, precision="fp32", ema=0.5, rate=2e-3, warm_up=1)
    whole = train_autoencoder(photographs, run, photographs)
    part = run.model_copy(update={"out": tmp_path / "parts", "minutes": 1e-9})
    train_autoencoder(photographs, part)
    rest = part.model_copy(update={"minutes": None, "resume": True})
    resumed = train_autoencoder(photographs, rest)
    first, second = (Autoencoder.from_pretrained(path) for path in (whole, resumed))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters()))
    card = json.loads((whole / "training.json").read_text())
    assert card["samples"] == 8 and "2 photographs" in card["data"] and card["figures"]["clean"] > 0


def test_a_linear_start_is_the_best_linear_autoencoder():
    torch.manual_seed(0)
    autoencoder = Autoencoder(linear_start(small(), [skimage.data.chelsea()])).eval()
    cells = torch.nn.functional.pixel_unshuffle(CHELSEA, 4).movedim(1, -1).flatten(0, 2)
    spread = torch.linalg.eigvalsh(torch.cov(cells.T))
    best = -10 * float((spread[:-16].sum() / 48).log10())
    assert best - 2 < float(psnr(autoencoder.round_trip(CHELSEA), CHELSEA)) < best + 1


def test_the_loss_falls():
    torch.manual_seed(0)
    objective = AutoencoderObjective(small(4, (48,)), [skimage.data.chelsea()])
    optimizer = torch.optim.Adam(objective.model.parameters(), 3e-3)
    losses = []
    for step in range(12):
        loss = objective.loss(objective.batch(0.0, step % 2)[0], 0.0, 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


def test_a_batch_follows_from_its_seed_and_holds_clean_crops_too():
    objective = AutoencoderObjective(small(4, (48,)), [skimage.data.chelsea()])
    (first, count), (second, _), (other, _) = (objective.batch(0.0, seed) for seed in (5, 5, 6))
    assert torch.equal(first, second) and not torch.equal(first, other) and count == 2


def test_a_folder_without_photographs_is_named(tmp_path):
    with pytest.raises(ValueError, match="no photographs"):
        train_autoencoder(tmp_path, Run(out=tmp_path / "out", samples=2, precision="fp32"))
