"""How near a reconstruction is, and how far edits still work on its code."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from facenb.editors import Editor
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.scorers import IdentityScorer, ScorerSuite
from facenb.scorers.nets.mediapipe import FaceMesh478
from facenb.scorers.nets.vgg import VGGDistance

SIZE = 256  # at which images are compared


class Reconstruction:
    """Compares images of codes with the images (N, 3, S, S) in [−1, 1] that were inverted.

    The generator's exact image is compared, not the preview that inversion looks at.
    """

    def __init__(self, images: Tensor, identity: IdentityScorer) -> None:
        self.images = F.avg_pool2d(images.float(), images.shape[-1] // SIZE)
        self.identity, self.vgg, self.mesh = identity, VGGDistance().bfloat16(), FaceMesh478()
        with torch.no_grad():
            self.person, self.points = identity(self.images), self.mesh(self.images)[0]

    @torch.no_grad()
    def __call__(self, generator: Generator, codes: Latents) -> dict[str, Tensor]:
        """(N,) of VGG distance (HED), SFace cosine, landmarks (in % of the side), PSNR, by name."""
        size = generator.exact_size
        drawn = torch.cat([generator.synthesize(code, size=size) for code in codes])
        drawn = F.avg_pool2d(drawn, size // SIZE)
        moved = (self.mesh(drawn)[0] - self.points)[..., :2]
        square = (drawn - self.images).square().mean((1, 2, 3))
        return {
            "VGG distance (HED)": torch.cat([
                self.vgg(a, b) for a, b in zip(drawn.split(1), self.images.split(1), strict=True)
            ]),
            "SFace cosine": (self.identity(drawn) * self.person).sum(1),
            "landmarks": 100 * torch.linalg.vector_norm(moved, dim=2).mean(1),
            "PSNR": 10 * torch.log10(4 / square),
        }  # fmt: skip


@torch.no_grad()
def editability(
    generator: Generator,
    scorers: ScorerSuite,
    identity: IdentityScorer,
    editor: Editor,
    codes: Latents,
    images: Tensor,
    strengths: tuple[float, float],
) -> tuple[Tensor, Tensor]:
    """What an edit does to codes of inverted images (N, 3, S, S).

    Returns the change (N,) of the editor's own score from the first strength to the second, and
    the SFace cosine (N,) of the edited faces, the worse of the two, with the inverted images.
    """
    column = scorers.names.index(editor.name.partition(" | ")[0])
    small = F.avg_pool2d(images.float(), images.shape[-1] // SIZE)
    person, scores, cosines = identity(small), [], []
    for strength in strengths:
        edited = editor.edit(codes, strength)
        drawn = torch.cat([generator.synthesize(code, size=SIZE) for code in edited])
        scores.append(scorers(drawn)[:, column])
        cosines.append((identity(drawn) * person).sum(1))
    return scores[1] - scores[0], torch.minimum(*cosines)
