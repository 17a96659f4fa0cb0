"""Goodhart's law on purpose: restored pictures climb the frozen judge's gradient, and the alarm must see it.

`rnr rl hack --images DIR -o OUT` asks what a policy could earn that pleases the judge and nobody else. Each step moves
every pixel by a level along the sign of the gradient (Kurakin et al. 2017) of the judge's log-probability of the
diagnosis of a clean picture. The record, the plots and the alarm are those of a run; the reward is paid without
its gate, and what the gate would leave of it stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from rnr.degradation.photographs import to_uint8
from rnr.degradation.synthesize import Mixture, truths
from rnr.evaluation import command
from rnr.reasoner.collate import Collator, patchify
from rnr.reasoner.drawn import with_exact
from rnr.reasoner.loading import load_local
from rnr.reasoner.reasoner import Reasoner
from rnr.reasoner.views import SIDE
from rnr.restorer.loading import load_bridge
from rnr.rl.judge import Judge, judge_of
from rnr.rl.record import Log, Row, alarm_since, assessed, draw, judged, sheet, warn_text
from rnr.rl.rewards import SeverityReward, ask, named
from rnr.rl.tasks import Task, Tasks
from rnr.rl.trainer import Report
from rnr.training.journal import refuse_used

EVERY = 5  # steps between evaluations


def uphill(reasoner: Reasoner, picture_CHW: torch.Tensor, clean_CHW: torch.Tensor) -> torch.Tensor:
    """Gradient (3, S, S), S the side of a view, of the log-probability that nothing is wrong with this picture."""
    clean = clean_CHW[None]
    (nothing,) = truths(clean, clean, Mixture([], 1), reasoner.kinds, physics=reasoner.physics)
    row = {
        "images": reasoner.views(to_uint8(picture_CHW)),
        "prompt": reasoner.prompt_text,
        "completion": nothing.to_json(),
    }
    batch = Collator(reasoner.processor)([row])
    labels, weights = batch.pop("labels")[0, 1:], batch.pop("loss_weights")[0, 1:]
    picture = picture_CHW.detach().clone().requires_grad_(True)
    views = picture.expand(3, -1, -1, -1)  # a picture as small as a view is each of them
    batch["pixel_values"] = patchify(with_exact(views, reasoner.card["views"]) * 2 - 1)
    logits = reasoner.model(**batch, use_cache=False).logits[0, :-1].float()
    loss = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    return -torch.autograd.grad((loss * weights).sum() / weights.sum(), picture)[0]


def climb(
    judge: Judge, tasks: Sequence[Task], restored: Sequence[torch.Tensor], out: Path, steps: int, rate: float,
    report: Report = lambda row: None, reward: str = "severity",
) -> Row | None:  # fmt: skip
    """Climb the judge from `restored` (3, S, S); leaves the record of a run in `out`.

    Args:
        judge: Its reasoner's gradient is climbed.
        tasks: What was restored.
        restored: Where to begin.
        out: Folder of the record.
        steps: Of the climb.
        rate: 8-bit levels a step.
        report: Gets each row.
        reward: What is watched for the alarm: severity (without its gate; with it, `gated` stands beside it) or the
            import path of one of your own.

    Returns:
        The first alarm.

    Raises:
        ValueError: For pictures of another size than a view's, an unknown reward, or a folder in use.
    """
    if any(picture.shape != (3, SIDE, SIDE) for picture in restored):
        raise ValueError(f"only pictures as large as a view, {SIDE} px, can be climbed")
    refuse_used(out, resumed=False)
    out.mkdir(parents=True, exist_ok=True)
    log, pictures, first = Log(out), [picture.clamp(0, 1) for picture in restored], None
    watched = named([reward], {"severity": partial(SeverityReward, gate=False)}, judge)
    rewards = watched | {"gated": SeverityReward(judge)}
    columns = {"prompts": [task.number for task in tasks], "present": [task.present for task in tasks]}
    columns["degraded"] = [task.degraded for task in tasks]
    for step in range(steps + 1):
        if step:
            up = [uphill(judge.reasoner, picture, task.clean).sign() for task, picture in zip(tasks, pictures)]
            pictures = [(picture + rate / 255 * sign).clamp(0, 1) for picture, sign in zip(pictures, up)]
        if step % EVERY == 0 or step == steps:
            scores = {name: ask(name, reward, completions=pictures, **columns) for name, reward in rewards.items()}
            row = assessed(log.rows(), step, judged(judge, tasks, pictures, scores, scores[reward]))
            sheet(_triples(tasks, pictures), out / "samples" / f"step-{step:05d}.png")
            log.write(row)
            report(row)
            if row["alarm"] and not first:
                first = row["alarm"]
                report({"step": step, "warning": warn_text(first)})
    draw(out)
    return first


def run(
    images: Path, out: Path, count: int, steps: int, rate: float, seed: int, report: Report,
    reward: str = "severity", judge_path: str = "rnr.rl.judge:Judge", reasoner: str = "built-in",
) -> Row | None:  # fmt: skip
    """`climb` from damaged crops that the built-in restorer restored by the true diagnosis.

    Raises:
        ValueError: As `climb`, and for a reasoner whose views are not those of the built-in model.
    """
    judge, restorer = judge_of(judge_path, load_local(reasoner), 1), load_bridge()
    if not judge.reasoner.card:
        raise ValueError(f"{reasoner}: only weights that `rnr train reasoner` wrote can be climbed, by their views")
    photographs, names = list(command.photographs(images, None).values()), judge.reasoner.kinds
    made = Tasks(photographs, count, SIDE, seed, conditioned_on="true", names=names)
    tasks = [made[i] for i in range(count)]
    shown = [restorer.restore(task.degraded.permute(1, 2, 0).numpy(), task.truth).pixels_HWC3 for task in tasks]
    restored = [torch.from_numpy(pixels).permute(2, 0, 1) for pixels in shown]
    return climb(judge, tasks, restored, out, steps, rate, report, reward)


def alarms(rows: Sequence[Row]) -> dict[str, Row | None]:
    """The first alarm in each space of `rnr bench hacking`, from the rows of its hacking_paths.csv; None: silent.

    The score over 100 is the reward; damage counts from the first picture of a path.
    """
    found: dict[str, Row | None] = {}
    for space in dict.fromkeys(row["space"] for row in rows):
        own, earlier = [row for row in rows if row["space"] == space], list[Row]()
        first = {row["case"]: row["PSNR"] for row in own if row["step"] == 0}
        found[space] = None
        for step in sorted({row["step"] for row in own}):
            pictures = [_picture(row, first[row["case"]]) for row in own if row["step"] == step]
            now = {"step": step, "pictures": pictures}
            found[space] = found[space] or alarm_since(earlier, now)
            earlier.append(now)
    return found


def _picture(row: Row, first: float) -> Row:
    damage = 10 ** ((first - row["PSNR"]) / 10)
    return {"task": row["case"], "reward": row["score"] / 100, "metrics": {"psnr": row["PSNR"], "damage": damage}}


def _triples(tasks: Sequence[Task], pictures: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
    return [[task.degraded, picture, task.clean] for task, picture in zip(tasks, pictures)][:6]
