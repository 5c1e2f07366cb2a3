"""γ of the latent transformer (Yao et al., 2021, Eq. 3): which attributes belong together.

The paper takes it from CelebA-HQ's annotations. A generator has habits of its own, so that the
labels of its own samples are the other choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from facenb.data import load_json
from facenb.errors import unknown
from facenb.metrics.statistics import pearson

# our name: CelebA's, and which way round; CelebA has no yaw, pitch or surprise
CELEBA = {"smile": ("Smiling", 1), "mouth_open": ("Mouth_Slightly_Open", 1), "gender": ("Male", 1),
          "age": ("Young", -1), "glasses": ("Eyeglasses", 1), "hat": ("Wearing_Hat", 1),
          "beard": ("No_Beard", -1)}  # fmt: skip


def label_correlation(labels: Tensor) -> Tensor:
    """γ (A, A): Pearson correlation of the samples' labels (N, A), booleans or zeros and ones.

    Raises:
        ValueError: an attribute with one class only.
    """
    gamma = pearson(labels.float())
    single = [str(i) for i, value in enumerate(gamma.diagonal()) if not value.isfinite()]
    if single:
        raise ValueError(
            "label_correlation: expected two classes of every attribute, given one in "
            f"column {', '.join(single)}."
        )
    return gamma.to(labels.device, torch.float32)


def celeba_correlation(names: Sequence[str]) -> Tensor:
    """γ (A, A) from CelebA's annotations (20,000 images); 0 where CelebA does not annotate.

    With 0 a change is fully penalised: nothing is known that would excuse it. UnknownNameError when
    CelebA annotates none of the names.
    """
    known = torch.tensor([i for i, name in enumerate(names) if name in CELEBA])
    if not len(known):
        raise unknown("attribute of CelebA", ", ".join(names), CELEBA)
    table = load_json("celeba_attribute_correlation.json")
    rows = [table["names"].index(CELEBA[names[i]][0]) for i in known]
    sign = torch.tensor([float(CELEBA[names[i]][1]) for i in known])
    gamma = torch.eye(len(names))
    found = torch.tensor(table["correlation"])[rows][:, rows]
    gamma[known[:, None], known] = found * sign * sign[:, None]
    return gamma
