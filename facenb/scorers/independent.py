"""Nets of the independent scores, of images framed like FFHQ's. Nothing is learned with them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facenb.scorers.nets.age_gender import AgeGender
from facenb.scorers.nets.faceapi import EXPRESSIONS
from facenb.scorers.nets.human import Expressions, log_odds


class IndependentAgeGender(nn.Module):
    """Age in years and the log-odds of male, by nets from dlib's collection.

    They cut a face out by five points. FFHQ's alignment puts these in about the same places in
    every image, so that their means over 464 generated faces serve for all, and no other net has a
    part in the score.
    """

    native = 256
    points = ((0.330, 0.473), (0.434, 0.480), (0.565, 0.480), (0.669, 0.472), (0.498, 0.653))

    def __init__(self) -> None:
        super().__init__()
        self.net = AgeGender()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        points = images.new_tensor(self.points).expand(len(images), -1, -1)
        age, gender = self.net(images, points)
        return {"age": age, "gender": gender}


class IndependentExpressions(Expressions):
    """Smile as of `Expressions`; surprise is surprised against the other five but happy.

    Half of these faces smile broadly, and against happy every score says little but "no smile".
    """

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        logits = self.logits(images)
        happy, surprised = EXPRESSIONS.index("happy"), EXPRESSIONS.index("surprised")
        others = torch.cat([logits[:, :happy], logits[:, happy + 1 :]], dim=1)
        return {
            "smile": log_odds(logits, happy),
            "surprise": log_odds(others, surprised - (surprised > happy)),
        }
