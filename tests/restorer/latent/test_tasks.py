"""The parts of the restorer of tasks: what they change before and after training, by name, ablations, and the door."""

import json

import numpy as np
import pytest
import skimage.data
import torch

from rnr.degradation.diagnosis import Diagnosis, Finding
from rnr.degradation.errors import SetupError
from rnr.restorer import Intent, TaskRestorer, load
from rnr.restorer.latent import Autoencoder, TaskNetwork
from rnr.restorer.latent.adapter import places
from rnr.restorer.latent.autoencoder import small
from rnr.restorer.latent.prior import named_prior, plain, run, skips_of, small_prior
from rnr.restorer.latent.repair import FeatureRepair, GroupBlock
from rnr.restorer.latent.task_files import load_network, save_network
from rnr.work.models import Models
from rnr.work.request import Request
from tests.restorer.latent.tiny_tasks import SHAPE, stable_diffusion, tiny, written

CAT = skimage.data.chelsea()
NOISY = Diagnosis(findings={"noise": Finding(present=True, severity=40)}, plan=["noise"])
NOTHING = Diagnosis(findings={"noise": Finding(present=False, severity=0)})


def image(size: tuple[int, int] = (32, 64)) -> torch.Tensor:
    return torch.from_numpy(pixels(size)).permute(2, 0, 1)[None]


def pixels(size: tuple[int, int] = (32, 64)) -> np.ndarray:
    return np.ascontiguousarray(CAT[: size[0], : size[1]], np.float32) / 255


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return written(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def restorer(folder):
    return load(folder)


def test_an_untrained_network_is_the_autoencoder_to_the_bit():
    torch.manual_seed(0)
    autoencoder = Autoencoder(small(4, (16,))).eval()
    network = TaskNetwork.of(autoencoder, **SHAPE)
    network.add_prompt("perception")
    network.measure(autoencoder, image())
    with torch.no_grad():
        plain_trip = autoencoder.decode(autoencoder.encode(image())[0])
        assert torch.equal(network.restored(autoencoder, image(), "perception"), plain_trip)


def test_each_part_changes_the_picture_and_can_be_left_out():
    made = {}
    for part in ("", "cfrm", "controller", "tfa"):
        autoencoder, network = tiny(**({part: False} if part else {}))
        _, whole = tiny()
        network.load_state_dict(whole.state_dict(), strict=False)
        with torch.no_grad():
            made[part] = network.restored(autoencoder, image(), "perception")
    assert all(not torch.allclose(made[""], made[part], atol=1e-4) for part in ("cfrm", "controller", "tfa"))


def test_the_prompt_alone_makes_the_difference_and_only_with_tfa():
    for tfa in (True, False):
        autoencoder, network = tiny(tfa=tfa)
        with torch.no_grad():
            a, b = (network.restored(autoencoder, image(), task) for task in ("perception", "reading"))
        assert torch.equal(a, b) != tfa


def test_the_groups_are_attended_apart_and_together():
    torch.manual_seed(0)
    block, x = GroupBlock(8, 2), torch.randn(1, 8, 8, 8)
    other = x.clone()
    other[:, 4:] += 1  # the second group
    with torch.no_grad():
        assert torch.allclose(block.attend_within(x)[:, :4], block.attend_within(other)[:, :4], atol=1e-6)
        assert not torch.allclose(block.attend_between(x)[:, :4], block.attend_between(other)[:, :4], atol=1e-3)


def test_repair_counts_in_deviations():
    repair, x = FeatureRepair(8, 8, 2, 1), torch.randn(4, 8, 8, 8) * 3 + 20
    repair.standard.measure(x)
    seen = repair.standard(x)
    assert float(seen.mean().abs()) < 1e-4 and abs(float(seen.std()) - 1) < 0.02


@pytest.mark.parametrize("kind", ["own", "stable diffusion"])
def test_the_unsteered_prior_is_diffusers_own_forward(kind, tmp_path):
    torch.manual_seed(0)
    unet = small_prior(4, (8, 16)) if kind == "own" else named_prior(str(stable_diffusion(tmp_path)))
    torch.nn.init.normal_(unet.conv_out.weight)
    x, time, tokens = (
        torch.randn(2, 4, 8, 16),
        torch.tensor([3.0, 500.0]),
        torch.randn(2, 4, unet.config.cross_attention_dim),
    )
    seen: list[tuple[int, ...]] = []

    def steer(number: int, skip: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(skip.shape[1:]))
        return skip

    with torch.no_grad():
        assert torch.equal(run(unet, x, time, tokens, steer), unet(x, time, tokens).sample)
    assert seen == [(s.channels, 8 >> s.level, 16 >> s.level) for s in skips_of(unet)]


def test_the_bridge_takes_several_steps_that_add_up():
    autoencoder, network = tiny()
    with torch.no_grad():
        start, _ = network.encode(autoencoder, image())
        one, two = network.better(start), network.better(start, 2)
        half = start + network.said(start, start, torch.tensor([999.0])) / 2
    assert not torch.equal(one, two) and torch.allclose(one - start, 2 * (half - start), atol=1e-5)


def test_a_stable_diffusion_prior_by_name(tmp_path):
    """Frozen, not part of the weights, noise by the seed, one step."""
    source = stable_diffusion(tmp_path / "sd")
    autoencoder = Autoencoder.from_pretrained(source / "vae").requires_grad_(False)
    network = TaskNetwork.of(autoencoder, **(SHAPE | {"prior": str(source)}))
    network.add_prompt("perception")
    network.measure(autoencoder, image())
    assert len(places(autoencoder)) == 2 and network.multiple == 32
    assert not any(p.requires_grad for p in network.unet.parameters())
    network.restored(autoencoder, image(), "perception").mean().backward()
    assert network.tuners[0].up.weight.grad.any() and network.unet.conv_in.weight.grad is None
    save_network(network, tmp_path / "tasks.safetensors", {})
    again, _ = load_network(tmp_path)
    again.add_prompt("perception")
    with torch.no_grad():
        a, b, c = (again.restored(autoencoder, image(), "perception", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)
    with pytest.raises(SetupError, match="takes one step, not 4"):
        TaskRestorer(autoencoder, again).restore(pixels(), NOISY, num_inference_steps=4)


def test_a_prior_that_does_not_fit_is_named(tmp_path):
    source = stable_diffusion(tmp_path)
    with pytest.raises(ValueError, match="a U-Net of 4 channels does not fit an autoencoder of 16"):
        TaskNetwork.of(Autoencoder.from_pretrained("built-in"), prior=str(source))
    with pytest.raises(OSError, match="it needs unet/config.json"):
        named_prior(str(tmp_path / "nowhere"))
    other = small_prior(4, (8, 16))
    other.register_to_config(addition_embed_type="text_time")
    with pytest.raises(ValueError, match="has addition_embed_type; name a U-Net of the class of SD"):
        plain(other, "xl")


def test_the_task_is_asked_for_and_recorded(restorer):
    usual, people = restorer.restore(pixels(), NOISY), restorer.restore(pixels(), NOISY, Intent(task="perception"))
    read = restorer.restore(pixels(), NOISY, Intent(task="reading"))
    assert np.array_equal(usual.pixels_HWC3, people.pixels_HWC3) and usual.settings["task"] == "perception"
    assert read.settings["task"] == "reading" and not np.array_equal(read.pixels_HWC3, people.pixels_HWC3)
    assert restorer.tasks == ["perception", "reading"] and len(restorer.identity["model_hash"]) == 16
    assert restorer.restore(given := pixels(), NOTHING, Intent(task="reading")).pixels_HWC3 is given


@pytest.mark.parametrize("size", [(1, 1), (33, 7), (40, 100)])
def test_any_size(restorer, size):
    assert restorer.restore(pixels(size), None).pixels_HWC3.shape == (*size, 3)


def test_what_cannot_be_asked_for_is_refused(restorer):
    with pytest.raises(SetupError, match=r"'flying'.*perception, reading.*rnr train task flying"):
        restorer.restore(pixels(), NOISY, Intent(task="flying"))
    with pytest.raises(SetupError, match="has no dial of quality"):
        restorer.restore(pixels(), NOISY, Intent(quality=90))
    with pytest.raises(SetupError, match="undoes everything at once: leave out --only"):
        restorer.restore(pixels(), NOISY, Intent(kinds=["noise"]))
    with pytest.raises(SetupError, match="has no prompts of tasks; leave out --task, or name one that has"):
        Models().pipeline.restore(pixels(), NOISY, Intent(task="reading"))


def test_a_request_without_a_task_is_what_it_was():
    assert Request().intent is None and "task" not in Request().asked
    assert Request(task="reading").asked["task"] == "reading" and Request(task="reading").intent == Intent(
        task="reading"
    )


def test_what_is_broken_is_named(tmp_path, folder):
    with pytest.raises(SetupError, match="a restorer of tasks takes no steps"):
        load(folder, steps=3)
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "TaskRestorer"}))
    with pytest.raises(SetupError, match="tasks.safetensors: no weights of a restorer of tasks"):
        load(tmp_path)
    (tmp_path / "tasks.safetensors").write_bytes((folder / "tasks.safetensors").read_bytes())
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "x.safetensors").write_bytes(b"no")
    with pytest.raises(SetupError, match="x.safetensors: no prompt of this restorer"):
        load(tmp_path)
