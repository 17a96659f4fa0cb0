"""Pictures of one size side by side: `python examples/strip.py clean.png degraded.png restored.png -o strip.jpg`."""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

GAP = 8  # px

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("pictures", nargs="+", type=Path)
parser.add_argument("-o", "--out", type=Path, required=True)
arguments = parser.parse_args()
pictures = [Image.open(path).convert("RGB") for path in arguments.pictures]
width, height = pictures[0].size
if any(picture.size != (width, height) for picture in pictures):
    parser.error("the pictures differ in size")
strip = Image.new("RGB", (len(pictures) * (width + GAP) - GAP, height), "white")
for position, picture in enumerate(pictures):
    strip.paste(picture, (position * (width + GAP), 0))
arguments.out.parent.mkdir(parents=True, exist_ok=True)
strip.save(arguments.out, quality=88)
