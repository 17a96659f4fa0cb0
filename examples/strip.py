"""Before and after, with the diagnosis under each: the picture of the README.

    python examples/strip.py -o docs/images/before-after.jpg

Each photograph of `examples/photographs` is damaged by the kind that it is named after, as by `rnr degrade --set
KIND=45`, then diagnosed and restored. A kind that the reasoner does not know is left out. What comes out is shown, good
or not: nothing is chosen afterwards.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import rnr
from rnr import reasoner as reasoners
from rnr.degradation.kind import kind_named, kinds
from rnr.degradation.measure import psnr
from rnr.degradation.photographs import to_tensor, to_uint8
from rnr.degradation.synthesize import degrade, prescribe

SEVERITY, SEED = 45, 1
GAP, TEXT, COLUMNS = 8, 62, 4  # px, px, cells in a row
LARGEST = 300_000  # bytes

Cell = tuple[Image.Image, list[str]]


def words(record: rnr.DiagnosisRecord, kind: str, left_alone: dict[str, float]) -> str:
    """What the reasoner wrote of the true kind, and what else it found."""
    title, belief = kind_named(kind).words.title, record.belief(kind)
    sure = f" (P {belief.probability:.2f}{', left alone' if kind in left_alone else ''})" if belief else ""
    present = record.diagnosis.present if record.diagnosis else []
    severity = record.expected_severity(kind)
    found = f"{title} {severity:.0f}{sure}" if kind in present and severity is not None else f"{title} missed"
    others = [f"{name} {record.expected_severity(name):.0f}" for name in present if name != kind]
    return found + (f"; {', '.join(others)}" if others else "")


def cell(path: Path, models: dict[str, str]) -> Cell:
    """The damaged photograph above the restored one, and three lines."""
    kind, clean = path.stem, to_tensor(np.asarray(Image.open(path).convert("RGB")))
    damaged = to_uint8(degrade(clean, prescribe({kind: SEVERITY}, SEED)))
    result = rnr.restore(damaged, device="cpu", **models)
    before, after = (float(psnr(to_tensor(pixels), clean)) for pixels in (damaged, result.pixels_HWC3))
    said = words(result.records[0], kind, result.settings.get("left_alone") or {})
    lines = [f"{kind_named(kind).words.title} of severity {SEVERITY}", f"written: {said}"]
    lines.append(f"PSNR {before:.1f} to {after:.1f} dB" + (", left as it was" if result.untouched else ""))
    return Image.fromarray(np.vstack([damaged, np.asarray(result.image.convert("RGB"))])), lines


def sheet(cells: list[Cell]) -> Image.Image:
    width, height = cells[0][0].size
    rows = -(-len(cells) // COLUMNS) if len(cells) != 6 else 2
    columns = -(-len(cells) // rows)
    whole = Image.new("RGB", (columns * (width + GAP) - GAP, rows * (height + TEXT + GAP) - GAP), "white")
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(size=15)
    for place, (picture, lines) in enumerate(cells):
        x, y = place % columns * (width + GAP), place // columns * (height + TEXT + GAP)
        whole.paste(picture, (x, y))
        draw.line((x, y + height // 2, x + width, y + height // 2), "white", 3)
        draw.multiline_text((x + 2, y + height + 4), "\n".join(lines), "#222", font, spacing=3)
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, default=Path(__file__).parent / "photographs")
    parser.add_argument("--reasoner", default="built-in")
    parser.add_argument("--restorer", default="built-in")
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    known = reasoners.load(given.reasoner).kinds
    paths = [given.photographs / f"{kind}.jpg" for kind in kinds() if kind in known]
    models = {"reasoner": given.reasoner, "restorer": given.restorer}
    cells = [cell(path, models) for path in paths if path.is_file()]
    for _, lines in cells:
        print("; ".join(lines))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for quality in range(88, 40, -4):
        sheet(cells).save(given.out, quality=quality)
        if given.out.stat().st_size <= LARGEST:
            break


if __name__ == "__main__":
    main()
