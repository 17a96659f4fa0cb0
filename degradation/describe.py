"""The document of all kinds, from their own words, factors and curves: `python -m rnr.degradation.describe`.

    python -m rnr.degradation.describe --out docs/degradations.md

Without `--out` it is printed. A test fails while the document does not say what the kinds say.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.diagnosis import reasoning_order
from rnr.degradation.kind import PHYSICS, Factor, Kind, kinds

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

LEVELS = (10, 25, 40, 55, 70, 85)
HEAD = """# Kinds of degradation

<!-- Written by `python -m rnr.degradation.describe --out docs/degradations.md`; change the kinds, not this file. -->

Each kind is one file of `degradation/`. Severity runs from 0 to 100 and is one scale for all kinds: equal severities
destroy, on the median photograph, equally much of a picture (1 - MS-SSIM on a logarithmic scale; see
`python -m rnr.degradation.calibrate --images DIR`). The curves are frozen: weights are trained on them. This is physics
{physics}: the number rises with every change of a forward model or a curve, and cards, records and benchmarks name it.

In the order of formation: {formation}.
A diagnosis reasons, and its plan restores, in the reverse order: {reasoning}.
"""
SECTION = """
## {title}

`degradation/{module}.py`, {equation}

- cause: {cause}
- look: {look}
- remedy: {remedy}
- evidence: {evidence} ({source}), in bins bounded by {bounds}{unit}
- highest severity: {top:g}

| factor | range | unit | step | meaning |
|---|---|---|---|---|
{factors}

| severity | {levels} |
|---|{rule}|
| {main} (median) | {values} |
"""


def document() -> str:
    known = kinds()
    formation = ", ".join(kind.words.title for kind in known.values())
    reasoning = ", ".join(known[name].words.title for name in reasoning_order(known))
    head = HEAD.format(physics=PHYSICS, formation=formation, reasoning=reasoning)
    return head + "".join(section(kind) for kind in known.values())


def section(kind: Kind) -> str:
    words, measurement = kind.words, kind.measurement
    levels = [level for level in LEVELS if level < kind.top]
    return SECTION.format(
        title=words.title.capitalize(),
        module=type(kind).__module__.split(".")[-1],
        equation=equation(kind),
        cause=words.cause,
        look=words.look,
        remedy=words.remedy,
        evidence=measurement.name,
        source=measurement.source,
        bounds=", ".join(f"{edge:g}" for edge in measurement.edges),
        unit=f" {measurement.unit}".rstrip(),
        top=kind.top,
        factors="\n".join(factor_row(factor, factor.name == kind.main) for factor in kind.factors),
        levels=" | ".join(map(str, levels)),
        rule="|".join(["---"] * len(levels)),
        main=kind.main,
        values=" | ".join(median_main(kind, level) for level in levels),
    )


def equation(kind: Kind) -> str:
    """What the kind's file opens with, after its title."""
    opening = (inspect.getdoc(inspect.getmodule(type(kind))) or "").split("\n\n")[0]
    return " ".join(opening.partition(": ")[2].split())


def factor_row(factor: Factor, main: bool) -> str:
    name = f"**{factor.name}**" if main else factor.name
    if factor.choices:
        return f"| {name} | {', '.join(factor.choices)} | | | {factor.meaning} |"
    return f"| {name} | {factor.low:g} to {factor.high:g} | {factor.unit} | {factor.step:g} | {factor.meaning} |"


def median_main(kind: Kind, severity: float) -> str:
    """The main factor that gives this severity, median over nuisance factors that allow it."""
    wanted = torch.full((4001,), float(severity))
    factors = kind.draw(wanted, torch.Generator().manual_seed(0))
    allowed = (kind.severity(factors) - wanted).abs() < 2
    return kind.factor(kind.main).text(float(factors[kind.main][allowed].median()))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m rnr.degradation.describe", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, help="file to write instead of printing")
    out = parser.parse_args().out
    if out is None:
        sys.stdout.write(document())
    else:
        out.write_text(document(), encoding="utf-8")


if __name__ == "__main__":
    main()
