"""Write a photograph that comes with scikit-image: `python examples/photograph.py photograph.png --name chelsea`."""

from __future__ import annotations

import argparse
from pathlib import Path

import skimage.data
from PIL import Image

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("out", type=Path)
parser.add_argument("--name", default="astronaut", choices=("astronaut", "chelsea", "coffee", "rocket"))
arguments = parser.parse_args()
arguments.out.parent.mkdir(parents=True, exist_ok=True)
Image.fromarray(getattr(skimage.data, arguments.name)()).save(arguments.out)
