"""The rows of `rnr.evaluation.quality` as the tables that people read."""

from __future__ import annotations

from collections.abc import Sequence

from rnr.evaluation.metrics import worst_twentieth
from rnr.evaluation.tables import Cell, Row, Table, mean

CAP = 60.0  # dB; a picture returned bit for bit has infinite PSNR


def main_table(rows: Sequence[Row], aims: dict[str, float | None], steps: int = 4) -> Table:
    """PSNR per task: input, best baseline, ours by each diagnosis; share of the gain; SSIM; damage left."""
    note = (
        "PSNR in dB, mean over pictures. best classical: the best of the task's baselines, chosen after the fact. "
        f"predicted, true, blind: by the reasoner's diagnosis, by the true one, by none "
        f"(of restorers that can); 1 or {steps} steps. "
        "share: gain of predicted over gain of true, in %, 1 step. left: squared error that is left, in %, median. "
        "aim: input of the published table."
    )
    lines = [_task_row(name, rows, aims.get(name), steps) for name in _tasks(rows) if name != "clean"]
    table = Table.of("Restoration", lines, note)
    table.digits = {"share": 0, "left": 0, "SSIM in": 3, "SSIM out": 3, "aim": 1}
    return table


def _task_row(task: str, rows: Sequence[Row], aim: float | None, steps: int) -> Row:
    of_task = [row for row in rows if row["task"] == task]
    before, after = _psnr(of_task, "input"), _psnr(of_task, "predicted", 1)
    true = _psnr(of_task, "true", 1)
    best = max(baseline_means(of_task).items(), key=lambda item: item[1], default=(None, None))
    row: Row = {"task": task, "n": sum(r["method"] == "input" for r in of_task), "aim": aim, "input": before}
    row |= {"best classical": best[1], "which": best[0], "predicted 1": after}
    row |= {f"predicted {steps}": _psnr(of_task, "predicted", steps), "true 1": true}
    row |= {f"true {steps}": _psnr(of_task, "true", steps), "blind 1": _psnr(of_task, "blind", 1)}
    row["share"] = _share(before, after, true)
    row["SSIM in"] = mean(r["ssim"] for r in _of(of_task, "input"))
    row["SSIM out"] = mean(r["ssim"] for r in _of(of_task, "predicted", 1))
    row["left"] = _median([r["damage"] for r in _of(of_task, "predicted", 1)])
    return row


def _share(before: float | None, predicted: float | None, true: float | None) -> float | None:
    """Gain by the predicted diagnosis in % of that by the true one; None where the true one gains next to nothing."""
    if before is None or predicted is None or true is None or true - before < 0.1 or before >= CAP:
        return None
    return 100 * (predicted - before) / (true - before)


def baseline_means(rows: Sequence[Row]) -> dict[str, float]:
    """Mean PSNR of each chain of baselines."""
    chains = dict.fromkeys(str(row["detail"]) for row in rows if row["method"] == "baseline")
    means = {chain: mean(_capped(r["psnr"]) for r in rows if r["detail"] == chain) for chain in chains}
    return {chain: value for chain, value in means.items() if value is not None}


def baseline_table(rows: Sequence[Row]) -> Table:
    """All baselines, not only the best."""
    lines: list[Row] = []
    for task in _tasks(rows):
        of_task = [row for row in rows if row["task"] == task]
        for chain, value in baseline_means(of_task).items():
            of_chain = [row for row in of_task if row["detail"] == chain]
            scores: Row = {"psnr": value, "ssim": mean(r["ssim"] for r in of_chain)}
            lines.append({"task": task, "baseline": chain, **scores, "seconds": mean(r["seconds"] for r in of_chain)})
    return Table.of("Classical baselines", lines, digits={"ssim": 3, "seconds": 3})


def clean_table(rows: Sequence[Row]) -> Table:
    """What happens to photographs that need nothing."""
    lines: list[Row] = []
    clean = [row for row in rows if row["task"] == "clean"]
    settings = dict.fromkeys((r["method"], r["steps"]) for r in clean if r["steps"] is not None)
    for method, steps in settings:
        chosen = _of(clean, str(method), int(str(steps)))
        numbers = [float(str(row["psnr"])) for row in chosen]
        line: Row = {"diagnosis": method, "steps": steps, "n": len(chosen)}
        line |= {"untouched %": mean(100 * bool(r["untouched"]) for r in chosen), "mean": mean(map(_capped, numbers))}
        line["worst twentieth"], line["worst"] = worst_twentieth(numbers, CAP), min(map(_capped, numbers), default=None)
        lines.append(line)
    note = (
        f"PSNR in dB against the photograph itself, cut at {CAP:g} (bit for bit the same is infinite); worst "
        "twentieth: mean of the lowest 5%, at least one picture."
    )
    return Table.of("Clean photographs", lines, note, {"untouched %": 0})


def steps_rows(rows: Sequence[Row], method: str = "predicted") -> list[Row]:
    """PSNR, SSIM and distance of the spectrum by task and number of steps, over the pictures that have all of them."""
    lines: list[Row] = []
    for task in _tasks(rows):
        of_task = [r for r in rows if r["task"] == task and r["method"] == method and not r["untouched"]]
        counts = sorted({int(str(r["steps"])) for r in of_task})
        complete = [{r["picture"] for r in of_task if r["steps"] == count} for count in counts]
        pictures = set.intersection(*complete) if complete else set()
        for steps in counts if pictures else ():
            chosen = [r for r in of_task if r["steps"] == steps and r["picture"] in pictures]
            line: Row = {
                "task": task,
                "steps": steps,
                "n": len(chosen),
                "psnr": mean(_capped(r["psnr"]) for r in chosen),
            }
            lines.append(line | {name: mean(r[name] for r in chosen) for name in ("ssim", "spectrum")})
    return lines


def steps_table(rows: Sequence[Row], few: int = 1, many: int = 4) -> Table:
    """Fidelity against texture: what more steps cost in PSNR, and how much nearer they come to the clean spectrum."""
    two = [row for row in rows if row["steps"] in (few, many) and row["task"] != "clean"]
    held = {(str(line["task"]), line["steps"]): line for line in steps_rows(two, "predicted")}
    lines: list[Row] = []
    for task in dict.fromkeys(name for name, _ in held):
        if (task, few) in held and (task, many) in held:
            a, b = held[task, few], held[task, many]
            line: Row = {"task": task, "n": a["n"], f"PSNR {few}": a["psnr"], f"PSNR {many}": b["psnr"]}
            line["loss"] = _number(a["psnr"]) - _number(b["psnr"])
            lines.append(line | {f"spectrum {few}": a["spectrum"], f"spectrum {many}": b["spectrum"]})
    if lines:
        names = [name for name in lines[0] if name not in ("task", "n")]
        means: Row = {"task": "mean"}
        lines.append(means | {name: mean(line[name] for line in lines) for name in names})
    note = (
        "loss: PSNR given up, in dB. spectrum: root mean square over 32 rings (0 to half a cycle per pixel) of the "
        "difference of the log radial power spectra of the luma, restored against clean, Hann window, in dB."
    )
    return Table.of(f"{few} step against {many}, predicted diagnosis", lines, note)


def _number(cell: Cell) -> float:
    return float(str(cell))


def _tasks(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(str(row["task"]) for row in rows if row["kind"] is None))


def _of(rows: Sequence[Row], method: str, steps: int | None = None) -> list[Row]:
    return [row for row in rows if row["method"] == method and (steps is None or row["steps"] == steps)]


def _psnr(rows: Sequence[Row], method: str, steps: int | None = None) -> float | None:
    return mean(_capped(row["psnr"]) for row in _of(rows, method, steps))


def _capped(value: object) -> float:
    return min(float(str(value)), CAP)


def _median(values: Sequence[object]) -> float | None:
    numbers = sorted(float(str(value)) for value in values if value is not None)
    return 100 * numbers[len(numbers) // 2] if numbers else None
