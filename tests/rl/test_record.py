"""The alarm and what is kept of a run."""

from __future__ import annotations

import pytest

from rnr.rl.config import RestorerConfig
from rnr.rl.record import Log, alarm, alarm_since, warn_text
from rnr.training.journal import refuse_used


def check(step: int, rewards: list[float], damages: list[float], levels: list[float]) -> dict:
    rows = zip(rewards, damages, levels)
    pictures = [{"task": i, "reward": r, "metrics": {"damage": d, "psnr": p}} for i, (r, d, p) in enumerate(rows)]
    return {"step": step, "pictures": pictures}


FIRST = check(0, [0.1, 0.2, 0.3, 0.2], [0.5, 0.5, 0.5, 0.5], [20, 21, 22, 23])


def test_the_alarm_names_the_step_the_changes_and_the_pictures():
    found = alarm(FIRST, check(30, [0.3, 0.4, 0.5, 0.4], [0.6, 0.61, 0.9, 0.6], [19, 20, 18, 22]))
    assert found is not None and found["step"] == 30 and found["samples"][0] == 2
    assert found["changes"]["reward"] == pytest.approx(0.2) and set(found["fallen"]) == {"damage", "psnr"}
    assert "step 30" in warn_text(found) and "pictures 2" in warn_text(found)


@pytest.mark.parametrize(
    "now",
    [
        check(9, [0.3, 0.4, 0.5, 0.4], [0.4, 0.4, 0.4, 0.4], [21, 22, 23, 24]),  # both better
        check(9, [0.0, 0.1, 0.2, 0.1], [0.6, 0.6, 0.6, 0.6], [19, 20, 21, 22]),  # both worse
        check(9, [0.3, 0.4, 0.5, 0.4], [0.51, 0.5, 0.49, 0.5], [20, 21, 22, 23]),  # the ground truth stays
        check(9, [0.9, 0.0, 0.2, 0.2], [0.6, 0.6, 0.6, 0.6], [19, 20, 21, 22]),  # one lucky picture
    ],
)
def test_no_alarm_where_reward_and_truth_do_not_part(now):
    assert alarm(FIRST, now) is None


def test_the_alarm_also_sees_a_truth_that_rose_before_it_fell():
    best = check(10, [0.3, 0.4, 0.5, 0.4], [0.3, 0.3, 0.3, 0.3], [22, 23, 24, 25])
    now = check(20, [0.6, 0.7, 0.8, 0.7], [0.4, 0.41, 0.42, 0.4], [21, 22, 23, 24])
    assert alarm(FIRST, now) is None, "still better than at the start"
    found = alarm_since([FIRST, best], now)
    assert found is not None and set(found["fallen"]) == {"damage", "psnr"}
    assert alarm_since([FIRST, best], best) is None is alarm_since([], now)


def test_a_new_run_does_not_wipe_the_record_of_an_earlier_one(tmp_path):
    refuse_used(tmp_path, resumed=False)
    Log(tmp_path).write({"step": 1})
    refuse_used(tmp_path, resumed=True)
    with pytest.raises(ValueError, match="metrics.jsonl: the record of an earlier run; go on with --resume"):
        refuse_used(tmp_path, resumed=False)


def test_a_log_that_is_resumed_forgets_what_came_after(tmp_path):
    log = Log(tmp_path)
    for step in range(4):
        log.write({"step": step, "reward": float("nan") if step == 1 else 1 / 3})
    assert log.rows()[1]["reward"] is None
    assert [row["step"] for row in Log(tmp_path, step=2).rows()] == [0, 1, 2]
    with pytest.raises(ValueError, match="record of an earlier run"):
        Log(tmp_path)


def test_a_configuration_is_checked_and_written_with_its_meaning(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text('images = "a"\nval = "b"\nout = "c"\ngroup = 1\nspeed = 3\n')
    with pytest.raises(ValueError, match=r"recipe.toml: group: .*greater than or equal to 2.*speed: Extra"):
        RestorerConfig.read(path)
    path.write_text('images = "a"\nval = "b"\nout = "c"\n')
    config = RestorerConfig.read(path, max_steps=7, seed=None)
    assert config.max_steps == 7 and config.seed == 0
    path.write_text('images = "a"\nval = "b"\nout = "c"\nsampling_steps = 4\n')
    with pytest.raises(ValueError, match="`sampling_steps` is called `num_inference_steps` now"):
        RestorerConfig.read(path)
    config.write(tmp_path / "run")
    assert '"meaning": "updates of the policy"' in (tmp_path / "run" / "config.json").read_text()
    assert all(field.description for field in RestorerConfig.model_fields.values())
