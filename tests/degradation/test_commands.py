"""The commands of this room, and what its import costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rnr.degradation import calibrate, describe, kinds

ROOT = Path(__file__).parents[2]


def test_the_room_its_kinds_and_its_schema_load_nothing_heavy() -> None:
    program = (
        "import sys; from rnr import degradation; degradation.kinds(); degradation.diagnosis_schema()\n"
        'degradation.Diagnosis.from_json(\'{"findings":{"noise":{"present":true,"severity":9}}}\')\n'
        "print(sorted({'torch', 'numpy', 'cv2', 'PIL', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")


def test_the_document_of_the_kinds_is_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "degradations.md"
    monkeypatch.setattr(sys, "argv", ["describe", "--out", str(out)])
    describe.main()
    written = (ROOT / "docs" / "degradations.md").read_text(encoding="utf-8")
    assert out.read_text(encoding="utf-8") == written, (
        "run python -m rnr.degradation.describe --out docs/degradations.md"
    )


def test_the_document_is_printed_where_no_file_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["describe"])
    describe.main()
    printed = capsys.readouterr().out
    for kind in kinds().values():
        assert f"## {kind.words.title.capitalize()}" in printed and f"highest severity: {kind.top:g}" in printed
        assert all(factor.meaning in printed for factor in kind.factors)


def test_calibration_prints_a_curve_for_every_kind_and_draws_them(
    photographs: dict[str, np.ndarray],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("astronaut", "coffee"):
        Image.fromarray(photographs[name][:256, :256]).save(tmp_path / f"{name}.png")
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["calibrate", "--images", str(tmp_path), "--out", str(out), "--rounds", "3"])
    calibrate.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [*kinds(), "plot"]
    for line in lines[:-1]:
        assert "curve = ((0, 0), (" in line and "frozen curve" in line
    with Image.open(out / "severity.png") as plot:
        assert plot.width > 1000


def test_a_calibrated_curve_fits_what_it_was_made_from() -> None:
    magnitude = np.linspace(0.05, 1.2, 400)
    severity = calibrate.severity_of_loss(calibrate.torch.from_numpy(0.8 * -np.expm1(-((magnitude / 0.7) ** 1.4))))
    knots = np.array(calibrate.fit(np.stack([magnitude, severity.numpy()], 1), 1.2))
    assert (np.diff(knots, axis=0) > 0).all() and knots[0].tolist() == [0, 0]
    assert np.abs(np.interp(magnitude, *knots.T) - severity.numpy()).max() < 1


@pytest.mark.parametrize("size", [None, (100, 300)], ids=["no pictures", "pictures too small"])
def test_calibration_says_what_is_wrong_with_the_folder(
    size: tuple[int, int] | None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if size:
        Image.new("RGB", size).save(tmp_path / "small.png")
    monkeypatch.setattr(sys, "argv", ["calibrate", "--images", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        calibrate.main()
    message = capsys.readouterr().err
    assert str(tmp_path) in message and ("no photographs here" in message or "smaller than 256x256" in message)
