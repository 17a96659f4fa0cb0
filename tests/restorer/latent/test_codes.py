"""Dual codebook and code predictor: HQ+ by each picture's own score, no edge in the score, seeds, training."""

import pytest
import skimage.data
import torch
from PIL import Image

from rnr.degradation.measure import technical_quality
from rnr.degradation.photographs import to_tensor
from rnr.degradation.synthesize import degrade, draw_mixture, prescribe
from rnr.restorer.latent.autoencoder import Autoencoder, small
from rnr.restorer.latent.codebook import Codebook, Codes, DualCodebook, k_means
from rnr.restorer.latent.codes import CodePredictor, load_predictor, restored, save_predictor
from rnr.restorer.latent.codes_train import CodeObjective, draw_codes, fit_codebooks, paired, train_codes, weaker
from rnr.training import Run

SHAPE = {"channels": 4, "features": 48, "factor": 4, "size": 8, "groups": 2, "width": 16, "blocks": 2, "heads": 2}
CAT = skimage.data.chelsea()


@pytest.fixture(scope="module")
def autoencoder() -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(small(4, (48,))).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def predictor(autoencoder) -> CodePredictor:
    """With codebooks, and projections that no longer begin at zero: the score matters."""
    torch.manual_seed(1)
    model: CodePredictor = CodePredictor(**SHAPE)
    fit_codebooks(autoencoder, model.book, [CAT], 0)
    for name, parameter in model.named_parameters():
        if "quality" in name or "offset" in name or "free" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr("rnr.restorer.latent.codes_train.POINTS", 32)


def test_k_means_finds_clusters_and_leaves_no_code_dead():
    generator = torch.Generator().manual_seed(0)
    places = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    points = (places[:, None] + 0.1 * torch.randn(4, 200, 2, generator=generator)).flatten(0, 1)
    centres = k_means(points, 4, generator)
    assert torch.cdist(places, centres).min(1).values.max() < 0.1
    owner = torch.cdist(points, k_means(points, 64, generator)).argmin(1)
    assert len(owner.unique()) > 55


def test_a_codebook_gives_its_own_codes_back():
    book = Codebook(4, 8, 2).fit(torch.randn(500, 4, generator=torch.Generator().manual_seed(0)))
    codes = torch.randint(0, 8, (2, 2, 5, 3), generator=torch.Generator().manual_seed(1))
    z = book.lookup(codes)
    assert torch.equal(book.nearest(z), codes) and torch.allclose(book.joined(book.split(z)), z, atol=1e-5)
    sure = 1e4 * torch.nn.functional.one_hot(codes, 8).movedim(-1, 2).float()
    assert torch.allclose(book.expected(sure), z, atol=1e-5)


def test_more_codes_lose_less():
    points = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0))
    z = points.T.reshape(1, 4, 50, 40)
    errors = []
    for size, groups in ((8, 1), (8, 2), (32, 2)):
        book = Codebook(4, size, groups).fit(points)
        errors.append(float((book.lookup(book.nearest(z)) - z).square().mean()))
    assert errors[0] > errors[1] > errors[2]
    dual = DualCodebook(4, 8, 2).fit([z[0]] * 3, torch.tensor([100.0, 100.0, 100.0]))
    both = dual.lookup(dual.nearest(z, torch.tensor([100.0])))
    common = dual.lookup(dual.nearest(z, torch.tensor([0.0])))
    assert (both - z).square().mean() < 0.6 * (common - z).square().mean()


def test_hq_is_learned_from_the_top_third_and_used_by_each_pictures_own_score():
    generator = torch.Generator().manual_seed(0)
    latents = [torch.randn(4, 8, 8, generator=generator) for _ in range(9)]
    score = torch.tensor([float(10 * i) for i in range(9)])
    book = DualCodebook(4, 8, 2).fit(latents, score)
    assert book.on(score).tolist() == [False] * 6 + [True] * 3
    other = [z if s >= book.threshold else 5 * z for z, s in zip(latents, score)]
    assert not torch.equal(DualCodebook(4, 8, 2).fit(other, score).common.codes_GKD, book.common.codes_GKD)
    z = torch.stack(latents[:2])
    mixed = book.lookup(book.nearest(z, torch.tensor([0.0, 100.0])))
    low, high = (book.lookup(book.nearest(z, torch.full((2,), s))) for s in (0.0, 100.0))
    assert torch.equal(mixed[0], low[0]) and torch.equal(mixed[1], high[1]) and not torch.equal(low, high)


def test_the_edges_of_the_score_are_no_edges(autoencoder, predictor):
    image = to_tensor(CAT[:64, :64])
    shown = [restored(predictor, autoencoder, image, score) for score in (0.0, 1e-3, 99.999, 100.0)]
    assert all(torch.isfinite(x).all() and x.min() >= 0 and x.max() <= 1 for x in shown)
    latent, seen = predictor.seen(autoencoder, image)
    logits = [predictor(latent, seen, torch.tensor([score])).common for score in (0.0, 1e-3, 99.999, 100.0)]
    assert (logits[0] - logits[1]).abs().max() < 1e-2 and (logits[2] - logits[3]).abs().max() < 1e-2
    assert (logits[0] - logits[3]).abs().max() > 0.1


def test_two_scores_in_one_batch_are_two_pictures(autoencoder, predictor):
    image = to_tensor(CAT[:64, :96]).repeat(2, 1, 1, 1)
    both = restored(predictor, autoencoder, image, torch.tensor([10.0, 100.0]))
    for i, score in enumerate((10.0, 100.0)):
        assert torch.allclose(both[i : i + 1], restored(predictor, autoencoder, image[:1], score), atol=1e-5)
    assert not torch.allclose(both[0], both[1], atol=1e-3)


def test_without_quality_the_score_only_decides_about_hq(autoencoder):
    torch.manual_seed(2)
    model: CodePredictor = CodePredictor(**SHAPE | {"quality": False})
    fit_codebooks(autoencoder, model.book, [CAT], 0)
    latent, seen = model.seen(autoencoder, to_tensor(CAT[:32, :32]))
    low, high = (model(latent, seen, torch.tensor([s])) for s in (0.0, 100.0))
    assert torch.equal(low.common, high.common)


def test_an_untrained_predictor_names_the_codes_of_the_picture_itself(autoencoder):
    torch.manual_seed(3)
    model: CodePredictor = CodePredictor(**SHAPE)
    fit_codebooks(autoencoder, model.book, [CAT], 0)
    score = torch.tensor([100.0])
    latent, seen = model.seen(autoencoder, to_tensor(CAT[64:128, 64:128]))
    found, own = model.codes(model(latent, seen, score, likeliest=True), score), model.book.nearest(latent, score)
    assert torch.equal(found.common, own.common) and torch.equal(found.hq, own.hq) and bool(found.on_B.all())


def test_the_target_has_less_of_the_same_damage_and_a_true_score():
    clean = to_tensor(CAT[:96, :96]).repeat(4, 1, 1, 1)
    mixture = prescribe({"noise": 60, "haze": 50}, 3, batch=4)
    batch = paired(clean, mixture, torch.tensor([0.0, 0.4, 0.8, 1.0]))
    assert torch.equal(batch.target[0], clean[0]) and torch.equal(batch.target[3], batch.degraded[3])
    assert batch.score_B[0] == 100 and (batch.score_B.diff() < 0).all()
    assert torch.equal(batch.score_B, technical_quality(batch.target, clean).clamp(0, 100))


def test_a_batch_follows_from_its_seed():
    first, again, other = (draw_codes([CAT], 3, 64, seed) for seed in (4, 4, 5))
    assert torch.equal(first.target, again.target) and torch.equal(first.degraded, again.degraded)
    assert not torch.equal(first.target, other.target)


def test_hq_is_not_learned_where_the_target_is_below_the_threshold(autoencoder):
    torch.manual_seed(4)
    model: CodePredictor = CodePredictor(**SHAPE)
    fit_codebooks(autoencoder, model.book, [CAT], 0)
    objective = CodeObjective(model, autoencoder, [CAT])
    batch = draw_codes([CAT], 2, 64, 1)
    for score, learned in ((0.0, False), (100.0, True)):
        batch.score_B = torch.full((2,), score)
        model.zero_grad()
        objective.loss(batch, 0.0, 0).backward()
        half = len(model.free.bias) // 2
        assert model.free.bias.grad is not None and bool(model.free.bias.grad[half:].any()) == learned


def test_a_file_comes_back_and_a_broken_one_is_named(tmp_path, predictor, autoencoder):
    save_predictor(predictor, tmp_path / "codes.safetensors", {"samples": 3})
    again, card = load_predictor(tmp_path / "codes.safetensors")
    image = to_tensor(CAT[:32, :32])
    half = restored(again, autoencoder, image, 100.0)
    assert card == {"samples": 3} and (half - restored(predictor, autoencoder, image, 100.0)).abs().mean() < 0.05
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    for name in ("broken", "missing"):
        with pytest.raises(OSError, match=f"{name}.safetensors: no code predictor's weights.*rnr train codes"):
            load_predictor(tmp_path / f"{name}.safetensors")


def test_a_resumed_training_is_an_unbroken_one(tmp_path, monkeypatch, autoencoder):
    monkeypatch.setattr("rnr.restorer.latent.codes_train.STAGES", ((1.01, 64, 2),))
    monkeypatch.setattr("rnr.restorer.latent.codes_train.CodePredictor", tiny_predictor)
    folder = tmp_path / "photographs"
    folder.mkdir()
    Image.fromarray(CAT[:200, :200]).save(folder / "chelsea.png")
    autoencoder.save_pretrained(tmp_path / "autoencoder")
    run = Run(out=tmp_path / "whole", samples=8, precision="fp32", ema=0.5, warm_up=1)
    whole = train_codes(folder, run, tmp_path / "autoencoder", folder)
    part = run.model_copy(update={"out": tmp_path / "parts", "minutes": 1e-9})
    train_codes(folder, part, tmp_path / "autoencoder")
    rest = part.model_copy(update={"minutes": None, "resume": True})
    resumed = train_codes(folder, rest, tmp_path / "autoencoder")
    (first, card), (second, _) = (load_predictor(path / "codes.safetensors") for path in (whole, resumed))
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values()))
    assert card["samples"] == 8 and card["figures"]["restored"] > 0


def tiny_predictor(
    channels: int, features: int, factor: int, groups: int, quality: bool, fusion: bool
) -> CodePredictor:
    return CodePredictor(**SHAPE | {"features": features, "quality": quality, "fusion": fusion})


def test_codes_are_the_same_where_a_training_computes_in_bf16():
    generator = torch.Generator().manual_seed(0)
    book = DualCodebook(4, 64, 2).fit([2 * torch.randn(4, 40, 40, generator=generator)] * 3, torch.full((3,), 100.0))
    z = 2 * torch.randn(2, 4, 16, 16, generator=generator)
    exact = book.nearest(z, torch.full((2,), 100.0))
    with torch.autocast("cpu", torch.bfloat16):
        codes = book.nearest(z, torch.full((2,), 100.0))
        assert torch.equal(book.lookup(codes), book.lookup(exact)) and book.lookup(codes).dtype == torch.float32
    assert torch.equal(codes.common, exact.common) and torch.equal(codes.hq, exact.hq)


def test_the_pictures_own_latent_is_fused_by_a_dial(autoencoder):
    torch.manual_seed(5)
    model: CodePredictor = CodePredictor(**SHAPE, fusion=True)
    fit_codebooks(autoencoder, model.book, [CAT], 0)
    image, on = to_tensor(CAT[:64, :64]), torch.ones(1, dtype=torch.bool)
    latent, seen = model.seen(autoencoder, image)
    found = model(latent, seen, torch.tensor([100.0]))
    codes, fused = model.fused(found, on, 0.0), model.fused(found, on)
    assert torch.equal(codes, model.expected(found, on))
    assert torch.allclose(fused - latent, (1 - 0.8808) * (codes - latent), atol=1e-4)
    alone, own = restored(model, autoencoder, image, 100.0, fidelity=0.0), autoencoder.round_trip(image)
    assert (restored(model, autoencoder, image, 100.0) - own).abs().mean() < 0.3 * (alone - own).abs().mean()


def test_a_file_without_fusion_shows_the_codes_alone(tmp_path, predictor, autoencoder):
    save_predictor(predictor, tmp_path / "codes.safetensors", {})
    again, image = load_predictor(tmp_path / "codes.safetensors")[0], to_tensor(CAT[:32, :32])
    both = [restored(again, autoencoder, image, 100.0, fidelity=fidelity) for fidelity in (0.0, 1.0)]
    assert again.kept is None and torch.equal(*both)


def test_validation_is_on_damaged_pictures_and_names_the_bound(autoencoder, predictor):
    objective = CodeObjective(predictor, autoencoder, [CAT], [CAT[:200, i : i + 200] for i in range(0, 250, 25)])
    assert 0 < len(objective.held) <= 10 and not any(torch.equal(*pair) for pair in objective.held)
    objective.held = objective.held[:1]
    figures = objective.validate(predictor)
    assert figures["true codes"] > figures["codes alone"] and figures["round trip"] > 0


def test_groups_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="4 channels cannot be split into 3 groups"):
        Codebook(4, 8, 3)


def test_codes_know_which_pictures_are_good():
    book = DualCodebook(4, 8, 2)
    assert Codes(torch.zeros(1), torch.zeros(1), book.on(torch.tensor([49.9, 50.0, 100.0]))).on_B.tolist() == [
        False,
        True,
        True,
    ]


def test_mixtures_are_weakened_kind_by_kind():
    mixture = draw_mixture(16, torch.Generator().manual_seed(0))
    half = weaker(mixture, torch.full((16,), 0.5))
    for step, less in zip(mixture.steps, half.steps):
        full = step.kind.severity(step.factors)
        assert (less.kind.severity(less.factors) <= full + 1).all() and less.seed == step.seed
    assert degrade(torch.rand(16, 3, 32, 32), half).shape == (16, 3, 32, 32)
