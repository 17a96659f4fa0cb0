"""Tiles against the whole picture."""

import pytest
import torch

from rnr.restorer.tiling import MARGIN, pad_to_multiple, spans, tiled


@pytest.mark.parametrize(("length", "tile"), [(1, 64), (63, 64), (129, 64), (500, 64), (1000, 128), (513, 512)])
def test_weights_of_neighbours_add_up_to_one_everywhere(length, tile):
    total = torch.zeros(length)
    for span in spans(length, tile):
        total[span.write] += span.weight
        assert span.read.start <= span.write.start and span.read.stop >= span.write.stop
        assert span.read.start % 16 == 0, "a tile must see the same sampling grid as the whole picture"
    torch.testing.assert_close(total, torch.ones(length))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (17, 300), (333, 201)])
def test_the_identity_stays_the_identity(size):
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    result = tiled(lambda x: x, [image], 64, 16)
    assert result.shape == image.shape
    torch.testing.assert_close(result, image)


def test_memory_is_bounded_by_the_tile():
    largest = 0

    def watch(x: torch.Tensor) -> torch.Tensor:
        nonlocal largest
        largest = max(largest, x.shape[-1] * x.shape[-2])
        return x

    tiled(watch, [torch.zeros(1, 3, 900, 700)], 128, 16)
    assert largest <= (128 + 2 * MARGIN + 64) ** 2


@pytest.mark.parametrize("size", [(5, 5), (16, 31), (1, 7)])
def test_padding_reaches_the_multiple_and_keeps_the_picture(size):
    image = torch.rand(1, 3, *size)
    padded = pad_to_multiple(image, 16)
    assert padded.shape[-2] % 16 == 0 and padded.shape[-1] % 16 == 0
    assert torch.equal(padded[..., : size[0], : size[1]], image)
