"""Legs: which run, in which order, how far, and what each says of itself."""

import numpy as np
import pytest
import skimage.data
import torch

from rnr.degradation.diagnosis import Belief, Diagnosis, DiagnosisRecord, Finding
from rnr.degradation.kind import kind_named
from rnr.degradation.measure import psnr
from rnr.degradation.photographs import to_tensor
from rnr.degradation.synthesize import degrade, prescribe, truths
from rnr.restorer import BridgeScheduler, ExpertNetwork, Experts, Intent, RestorePipeline
from rnr.restorer.chain import dose_of, removed_severity, route, walk
from rnr.restorer.expert import load_expert
from rnr.restorer.expert_data import draw_formation, draw_legs, inverse_of, read_of
from rnr.restorer.expert_train import grown

CLEAN = to_tensor(skimage.data.chelsea()[40:232, 100:292])


def found(*names: str, plan: list[str] | None = None) -> Diagnosis:
    findings = {name: Finding(present=True, severity=40) for name in names}
    return Diagnosis(findings=findings, plan=plan or [])


def damaged(request: dict[str, float]) -> tuple[np.ndarray, Diagnosis, torch.Tensor]:
    mixture = prescribe(request, 3)
    degraded = degrade(CLEAN, mixture)
    pixels = degraded[0].permute(1, 2, 0).contiguous().numpy()
    return pixels, truths(CLEAN, degraded, mixture)[0], degraded


def quality(pixels: np.ndarray) -> float:
    return float(psnr(torch.from_numpy(pixels).permute(2, 0, 1)[None], CLEAN))


@pytest.fixture(scope="module")
def pipe() -> RestorePipeline:
    return RestorePipeline.from_pretrained("built-in")


def test_the_plan_is_the_order_and_what_it_leaves_out_comes_last_formed_first():
    everything = ["blur", "haze", "noise", "compression"]
    source = found(*everything, plan=["haze"])
    assert route(source, None, everything, everything) == [("haze",), ("compression",), ("noise",), ("blur",)]


def test_kinds_without_an_expert_share_a_leg_with_their_neighbours():
    source = found("noise", "rain", "haze", "blur", plan=["noise", "haze", "rain", "blur"])
    legs = route(source, None, ["noise", "rain", "haze", "blur"], ["noise", "blur"])
    assert legs == [("noise",), ("haze", "rain"), ("blur",)]


def test_only_what_is_wanted_and_known_has_a_leg():
    source = found("noise", "haze", plan=["noise", "haze"])
    assert route(source, Intent(kinds=["haze"]), ["noise", "haze"], []) == [("haze",)]
    assert route(source, None, ["noise"], ["noise"]) == [("noise",)]


def test_a_dose_is_what_was_asked_of_what_the_picture_shows():
    _, _, degraded = damaged({"noise": 60})

    def own() -> float:
        return removed_severity(degraded, CLEAN)

    assert dose_of(None, own) == 1
    assert dose_of(80, own) == 1, "more than there is cannot be ordered"
    doses = [dose_of(asked, own) for asked in (0, 10, 20, 30, 40)]
    assert doses[0] == 0 and doses == sorted(doses) and len(set(doses)) == 5


def test_a_leg_of_a_perfect_estimate_ends_where_the_dose_says():
    start, end = torch.ones(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    steps = list(walk(start, lambda x, y, t: end, BridgeScheduler(), 3, lambda estimate: 0.75))
    assert [round(s, 6) for _, s, _, _ in steps] == [0.75, 0.5, 0.25]
    torch.testing.assert_close(steps[-1][2], torch.full_like(start, 0.25))


def test_every_leg_says_what_it_did(pipe):
    pixels, diagnosis, _ = damaged({"haze": 50, "noise": 45})
    result = pipe.restore(pixels, diagnosis)
    assert [leg.kinds for leg in result.legs] == [("noise",), ("haze",)]
    assert all(leg.dose > 0.85 and leg.removed > 5 and leg.change > 1 and leg.seconds > 0 for leg in result.legs)
    assert result.settings["legs"][0]["kinds"] == ("noise",)
    assert quality(result.pixels_HWC3) > quality(pixels) + 4


def test_an_edited_severity_answers_monotonically(pipe):
    pixels, diagnosis, _ = damaged({"noise": 60})
    changes = []
    for severity in (5, 20, 40, 60):
        edited = diagnosis.model_copy(deep=True)
        edited.findings["noise"].severity = severity
        changes.append(pipe.restore(pixels, edited).legs[0].change)
    assert changes == sorted(changes) and changes[0] < 0.4 * changes[-1]


def test_a_reasoner_s_severity_is_no_dose_but_an_edit_in_its_record_is(pipe):
    pixels, diagnosis, _ = damaged({"noise": 60})
    diagnosis.findings["noise"].severity = 10

    def change(spread: float) -> float:
        belief = Belief(probability=1, severity_if_present=10, spread=spread)
        record = DiagnosisRecord(diagnosis=diagnosis, beliefs={"noise": belief}, text="{}")
        return pipe.restore(pixels, record).legs[0].change

    assert change(spread=0) < 0.5 * change(spread=6)


@pytest.mark.parametrize("strength", [0, {"noise": 0}])
def test_strength_zero_gives_the_same_pixels(pipe, strength):
    pixels, diagnosis, _ = damaged({"noise": 40})
    assert np.array_equal(pipe.restore(pixels, diagnosis, Intent(strength=strength)).pixels_HWC3, pixels)


def test_a_finding_that_the_reasoner_is_not_sure_of_is_left_alone(pipe):
    pixels, diagnosis, _ = damaged({"noise": 60})
    belief = Belief(probability=0.6, severity_if_present=60, spread=8)
    record = DiagnosisRecord(diagnosis=diagnosis, beliefs={"noise": belief}, text=diagnosis.to_json())
    left = pipe.restore(pixels, record)
    assert left.untouched and left.settings["left_alone"] == {"noise": 0.6}
    for asked in ({"intent": Intent(force=True)}, {"intent": Intent(kinds=["noise"])}):
        assert [leg.kinds for leg in pipe.restore(pixels, record, **asked).legs] == [("noise",)]
    assert pipe.restore(pixels, record.edit("noise", severity=50)).legs
    record.beliefs["noise"].probability = 0.99
    assert not pipe.restore(pixels, record).untouched
    diagnosis.scene.medium = "graphic"  # the record holds this very diagnosis
    assert pipe.restore(pixels, record).untouched


def test_half_the_strength_is_half_way(pipe):
    pixels, diagnosis, _ = damaged({"noise": 60})
    full, half = (pipe.restore(pixels, diagnosis, Intent(strength=s)).pixels_HWC3 for s in (100, 50))
    np.testing.assert_allclose(half, (pixels + full) / 2, atol=0.02)


def test_experts_hardly_change_an_undamaged_picture_even_run_blind(pipe):
    """The aim is 0.3 of 255 and not reached: noise takes 1-2 off the fur's own grain, compression 3 (docs/lab-log.md).
    The bounds keep what there is from getting worse."""
    start = CLEAN.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        changes = {name: 255 * float(net(start, start, torch.ones(1)).abs().mean())
                   for name, net in pipe.experts.networks.items()}  # fmt: skip
    bounds = {"compression": 3.5}
    assert changes and all(change <= bounds.get(name, 2) for name, change in changes.items()), changes


def test_an_expert_is_one_file_that_says_what_it_is(tmp_path):
    network = ExpertNetwork("haze", widths=(16, 32), blocks=(1, 2))
    experts = Experts({"haze": network})
    experts.cards["haze"] = {"samples": 5}
    experts.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["haze.safetensors"]
    again = Experts.from_pretrained(tmp_path)
    assert again.cards["haze"] == {"samples": 5} and again["haze"].config["blocks"] == [1, 2]
    (tmp_path / "haze.safetensors").write_bytes(b"nothing")
    with pytest.raises(OSError, match=r"haze.safetensors"):
        load_expert(tmp_path / "haze.safetensors")


def test_a_new_expert_changes_nothing_and_its_reach_is_its_reach():
    network = ExpertNetwork("noise", widths=(8, 8, 8), blocks=(1, 1, 1)).to(memory_format=torch.channels_last)
    x = torch.rand(1, 3, 256, 256)
    assert torch.equal(network(x, x, torch.ones(1)), torch.zeros_like(x))
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.1, generator=torch.Generator().manual_seed(p.numel()))
    y = x.clone()
    y[..., 128, 128] += 10
    with torch.no_grad():
        moved = (network(x, x, torch.ones(1)) - network(y, y, torch.ones(1))).abs().amax((0, 1)).nonzero()
    assert (moved - 128).abs().max() <= network.reach < 96


def test_an_expert_conditioned_on_the_severity_begins_as_it_was_and_learns_to_use_it():
    before = ExpertNetwork("rain", widths=(8, 8), blocks=(1, 1))
    for p in before.parameters():
        torch.nn.init.normal_(p, std=0.1, generator=torch.Generator().manual_seed(p.numel()))
    network = grown(before, (), finding=True)
    x, one = torch.rand(2, 3, 32, 32), torch.ones(2)
    with torch.no_grad():
        old = before(x, x, one)
        for severity in (None, torch.tensor([20.0, torch.nan])):
            torch.testing.assert_close(network(x, x, one, None, severity), old)
        network.get_submodule("time.0").weight[:, 1] += 1  # type: ignore[index, operator]
        moved = (network(x, x, one, None, torch.tensor([20.0, torch.nan])) - old).abs().amax((1, 2, 3))
    assert moved[0] > 1e-3 and moved[1] < 1e-6, "an unknown severity steers nothing"


def test_a_diagnosis_says_the_severity_about_right_and_not_always():
    kind = kind_named("rain")
    mixture = prescribe({"rain": 50}, seed=1, batch=400)
    read = read_of(kind, mixture, torch.Generator().manual_seed(0))
    known = read.severity_B[read.found_B]
    assert 0.85 < len(known) / 400 < 0.95 and abs(float(known.median()) - 50) < 4 and 8 < float(known.std()) < 25
    of_factors = kind.severity(read.factors)[read.found_B]
    assert float(((of_factors - known).abs() < 0.5).float().mean()) > 0.95, "some factors do not allow that severity"


def test_physics_undoes_what_was_read_and_nothing_where_nothing_was_or_is():
    kind, clean = kind_named("haze"), torch.full((200, 3, 16, 16), 0.3)
    mixture = prescribe({"haze": 50}, seed=1, batch=200)
    mixture.of("haze")[0].mask_B[:100] = False
    read, hazy = read_of(kind, mixture, torch.Generator().manual_seed(0)), degrade(clean, mixture)
    moved = (inverse_of(hazy, kind, read) - hazy).abs().mean((1, 2, 3)) > 1e-3
    assert torch.equal(moved, read.found_B) and 80 < int(moved[100:].sum()) < 100
    assert read.severity_B[:100].isfinite().sum() > 80, "what is not there is said, too"


def test_the_target_of_low_light_is_as_bright_as_the_reading_says():
    kind, photographs = kind_named("low_light"), [skimage.data.chelsea()]
    clean = draw_legs(kind, photographs, 16, 64, seed=1).end
    legs = draw_legs(kind, photographs, 16, 64, seed=1, physics=True)
    assert legs.inverse is not None
    found = (legs.inverse - legs.start).abs().mean((1, 2, 3)) > 0.01
    brightness = [image.mean((1, 2, 3))[found] for image in (legs.inverse.clamp(0, 1), legs.end, clean)]
    assert found.sum() > 8 and (brightness[0] - brightness[1]).abs().median() < 0.02
    assert (brightness[1] - brightness[2]).abs().median() > 0.02, "readings are not exact"


def test_what_is_taken_for_a_kind_is_shown_instead_of_it_and_undone_too():
    snow, rain = kind_named("snow"), kind_named("rain")
    assert snow.alike == ("rain",)
    mixture = draw_formation(snow, 400, torch.zeros(400).bool(), torch.Generator().manual_seed(0))
    shown = {kind.name: mixture.of(kind.name)[0].mask_B for kind in (snow, rain)}
    assert 0.25 < float((shown["rain"] & ~shown["snow"]).float().mean()) < 0.45
    legs = draw_legs(snow, [np.full((64, 64, 3), 90, np.uint8)], 128, 64, seed=1)
    streaks = rain.measure(legs.start) > 20
    assert streaks.sum() > 30 and float((rain.measure(legs.end)[streaks] < 20).float().mean()) > 0.8


def test_a_leg_s_pair_differs_by_its_kind_alone_and_depends_on_the_seed_alone():
    photographs = [skimage.data.chelsea(), skimage.data.astronaut()]
    kind = kind_named("noise")
    one, again = (draw_legs(kind, photographs, 8, 64, seed=5) for _ in range(2))
    assert torch.equal(one.start, again.start) and torch.equal(one.end, again.end)
    noise = (one.start - one.end).flatten(1)
    assert (noise.std(1) > 0.01).sum() >= 5 and (noise.mean(1).abs() < 0.05).all()


def test_the_residue_of_other_experts_is_part_of_the_picture():
    photographs = [skimage.data.chelsea()]
    grey = ExpertNetwork("compression", widths=(8, 8), blocks=(1, 1))
    torch.nn.init.constant_(grey.head.bias, 0.2)
    kind = kind_named("noise")
    plain = draw_legs(kind, photographs, 256, 16, seed=1)
    shown = draw_legs(kind, photographs, 256, 16, seed=1, experts=Experts({"compression": grey}))
    brighter = (shown.start - shown.end).mean((1, 2, 3)) > (plain.start - plain.end).mean((1, 2, 3)) + 0.05
    assert 3 < int(brighter.sum()) < 64


@pytest.mark.parametrize("kind", ["noise", "haze"])  # with an expert, and without one
def test_an_edited_record_overrules_its_beliefs(pipe: RestorePipeline, kind: str) -> None:
    pixels, truth, _ = damaged({kind: 50})
    belief = Belief(probability=0.99, severity_if_present=50, spread=6)
    record = DiagnosisRecord(diagnosis=truth, beliefs={kind: belief}, text=truth.to_json())
    weak = truth.edit(kind, severity=10)
    by_hand = record.model_copy(deep=True, update={"diagnosis": weak})
    whole, edited, hand, alone = (
        pipe.restore(pixels, source).pixels_HWC3 for source in (record, record.edit(kind, severity=10), by_hand, weak)
    )
    change, less = (np.abs(result - pixels).mean() for result in (whole, edited))
    assert less < 0.7 * change
    np.testing.assert_array_equal(edited, alone)
    np.testing.assert_array_equal(hand, alone)
    assert pipe.restore(pixels, record.without(kind)).untouched


def test_what_the_restorer_cannot_undo_is_named_and_not_called_doubtful(pipe):
    pixels, diagnosis, _ = damaged({"snow": 60, "noise": 60})
    few = RestorePipeline(None, pipe.scheduler, Experts({"noise": pipe.experts["noise"]}))
    assert few.kinds == ["noise"]
    beliefs = {kind: Belief(probability=0.6, severity_if_present=60, spread=8) for kind in ("snow", "noise")}
    record = DiagnosisRecord(diagnosis=diagnosis, beliefs=beliefs, text=diagnosis.to_json())
    left = few.restore(pixels, record)
    assert left.settings["beyond"] == ["snow"] and left.settings["left_alone"] == {"noise": 0.6}
