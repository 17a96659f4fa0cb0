"""One pass over an answer says what the step-by-step decoder said, by the names of fields, in any Qwen3-VL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rnr.degradation.errors import Error
from rnr.degradation.photographs import to_tensor
from rnr.explain import Internals, Run, load_run, save_run
from rnr.explain.pixels import boxes, patches_of, views_of_tensor
from rnr.reasoner.decode import Session, decode
from rnr.reasoner.grammar import program
from tests.explain.conftest import Damaged


@pytest.mark.parametrize("who", ["built_in", "random_qwen"])
def test_the_pass_repeats_the_decoder(who: str, damaged: Damaged, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(who).run(damaged.picture)
    assert run.record is not None and run.record.diagnosis == run.diagnosis
    for kind, belief in run.record.beliefs.items():
        assert run.expected_severity(kind) == pytest.approx(belief.expected_severity, abs=0.02)
    for trace in run.record.trace:
        shares = run.probabilities(trace.field)
        assert shares[run.script.places[trace.field].value] == pytest.approx(trace.confidence, abs=1e-3)
        assert sum(shares.values()) == pytest.approx(1)


def test_places_are_named_by_fields_and_views(run: Run, built_in: Internals) -> None:
    tokenizer, prompt = built_in.reasoner.processor.tokenizer, run.script.prompt
    for name, place in run.script.places.items():
        if place.value:
            ids = run.script.ids[place.start - prompt : place.end - prompt]
            assert tokenizer.decode(ids) == place.value, name
    assert run.script.path("haze.severity") == "findings.haze.severity"
    assert run.hidden("rich_crop", 0).shape == run.hidden("haze.severity", 3).shape == (192,)
    with pytest.raises(Error, match="no 'haze.depth' in this answer; there are scene."):
        run.hidden("haze.depth")
    with pytest.raises(Error, match="there is no layer 9; there are 0 to 4"):
        run.hidden("haze.severity", 9)


def test_attention_and_lens(run: Run, clean_run: Run) -> None:
    attention = run.attention("noise.present")
    total = torch.stack(list(attention.values())).sum(0)
    assert torch.allclose(total, torch.ones_like(total), atol=1e-4)
    assert float(attention["quality.technical"].max()) == 0  # which is written later
    expected = sum(int(v) * p for v, p in run.probabilities("noise.severity").items())
    assert float(run.lens("noise.severity")[-1]) == pytest.approx(expected, abs=0.01)
    with pytest.raises(Error, match="attention=True"):
        clean_run.attention("noise.present")


def test_a_patch_carries_the_source_over(built_in: Internals, damaged: Damaged, run: Run, clean_run: Run) -> None:
    last = run.layers
    both = built_in.patch(run, damaged.picture, clean_run, "noise.present", last)
    probability = both.probabilities("noise.present")["true"]
    assert probability == pytest.approx(clean_run.probabilities("noise.present")["true"], abs=1e-4)
    same = built_in.patch(run, damaged.picture, run, ["views.overview", "noise.evidence"], 2)
    assert same.expected_severity("noise") == pytest.approx(run.expected_severity("noise"), abs=1e-3)
    written = built_in.patch(run, damaged.picture, clean_run, "noise.evidence", 0, "written")  # below all layers: words
    assert written.expected_severity("noise") < run.expected_severity("noise")
    views = ["overview", "rich_crop", "smooth_crop", "spectrum"]
    seen = built_in.patch(run, damaged.picture, clean_run, views, 1)
    assert abs(seen.expected_severity("noise") - run.expected_severity("noise")) > 1


@pytest.mark.parametrize("size", [(144, 160), (100, 150), (1100, 1000)])
def test_float_views_are_the_views(
    built_in: Internals, photographs: dict[str, np.ndarray], size: tuple[int, int]
) -> None:
    picture = np.asarray(Image.fromarray(photographs["coffee"]).resize(size[::-1]))
    reasoner = built_in.reasoner
    made = views_of_tensor(to_tensor(picture), reasoner.card, boxes(picture, reasoner.card))
    shown = torch.from_numpy(reasoner.views(picture)).permute(0, 3, 1, 2) / 255
    assert float((made[1:3] - shown[1:3]).abs().max()) < 1e-6
    assert float((made - shown).abs().mean()) < 1.5 / 255  # rounded to 8 bits twice, and large pictures by Pillow
    patches = patches_of(shown, reasoner.processor)
    assert torch.allclose(patches, reasoner.inputs(picture)["pixel_values"], atol=1e-5)


@pytest.mark.parametrize("who", ["built_in", "random_qwen"])
def test_the_gradient_is_the_slope(who: str, damaged: Damaged, request: pytest.FixtureRequest) -> None:
    """Between 8-bit levels, where no two pixels tie for a quantile, and as a mean: the function is rough."""
    internals: Internals = request.getfixturevalue(who)
    run = internals.run(damaged.picture)
    found = internals.gradient(damaged.picture, "haze", run.diagnosis)
    assert found.pixels_HWC.shape == damaged.picture.shape and len(found.boxes) == 3
    exact, step = to_tensor(damaged.picture), 5e-5
    at_its_levels = internals.severity_of(exact.requires_grad_(), run, "haze", found.boxes)
    (slope,) = torch.autograd.grad(at_its_levels, exact)
    assert np.allclose(slope[0].permute(1, 2, 0).numpy(), found.pixels_HWC, atol=1e-5)
    veil = torch.linspace(0, 1, exact.shape[-1]).expand_as(exact)
    slopes, steps = [], []
    for seed in range(6):
        draw = torch.rand(exact.shape, generator=torch.Generator().manual_seed(seed)) - 0.5
        image = (exact.detach() + 0.9 * draw / 255).clamp(0.002, 0.998).requires_grad_()
        (slope,) = torch.autograd.grad(internals.severity_of(image, run, "haze", found.boxes), image)
        slopes.append(float((slope * veil).sum()))
        with torch.no_grad():
            up, down = (internals.severity_of(image + s * step * veil, run, "haze", found.boxes) for s in (1, -1))
        steps.append(float(up - down) / (2 * step))
    assert np.mean(steps) == pytest.approx(np.mean(slopes), rel=0.15, abs=0.2)


def test_an_edited_answer_is_read_through_the_same_pass(built_in: Internals, damaged: Damaged, run: Run) -> None:
    words = list(run.script.trees["findings.noise.evidence"].choice.options)
    forced = {"findings.noise.evidence": words[0]}
    record = built_in.reasoner.diagnose([damaged.picture], forced=forced)[0]
    again = built_in.run(damaged.picture, record.diagnosis)
    assert again.expected_severity("noise") == pytest.approx(record.beliefs["noise"].expected_severity, abs=0.02)


def test_a_run_is_saved_with_an_index(run: Run, tmp_path: Path) -> None:
    saved = load_run(save_run(run, tmp_path / "run.safetensors"))
    place = saved.places["findings.noise.severity"]
    assert torch.equal(saved.tensors["hidden"][3, place.asked], run.hidden("noise.severity", 3))
    shares = dict(zip(saved.index["options"]["scene.texture"], saved.tensors["probabilities.scene.texture"].tolist()))
    assert shares == pytest.approx(run.probabilities("scene.texture"), abs=1e-6)
    assert saved.index["model_hash"] == run.reasoner.model_hash and "attention" in saved.tensors
    (tmp_path / "broken").write_bytes(b"no")
    with pytest.raises(Error, match="broken: not a saved run"):
        load_run(tmp_path / "broken")


def test_a_server_has_no_insides() -> None:
    served: Any = object()
    with pytest.raises(Error, match="not from a server"):
        Internals(served)


def test_hooks_and_attention_are_taken_off(built_in: Internals, run: Run, damaged: Damaged) -> None:
    text = built_in.reasoner.model.model.language_model
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in text.modules())
    assert text.config._attn_implementation != "eager"
    session = Session(built_in.reasoner.model, built_in.reasoner.inputs(damaged.picture))
    names, physics = built_in.reasoner.kinds, built_in.reasoner.physics
    assert decode(session, program(names, physics=physics), built_in.reasoner.lexicon).text == run.record.text  # type: ignore[union-attr]
