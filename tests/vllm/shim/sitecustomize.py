"""Only for the environment of `make test-vllm`: its torchvision was built against another torch, wants these names."""

import torch

for op in ("nms(Tensor dets, Tensor scores, float threshold) -> Tensor",
           "qnms(Tensor dets, Tensor scores, float threshold) -> Tensor"):  # fmt: skip
    torch.library.define(f"torchvision::{op.split('(')[0]}", "(" + op.split("(", 1)[1])
