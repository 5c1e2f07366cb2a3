"""How near a reconstruction is, and how far edits still work on its latent."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from facenb.editors import Editor
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.scorers import IdentityScorer, ScorerSuite, load_identity
from facenb.scorers.nets.mediapipe import FaceMesh478
from facenb.scorers.nets.vgg import VGGDistance

SIZE = 256  # at which images are compared
VGG, SFACE, SECOND, PSNR = "VGG distance (HED)", "SFace cosine", "faceres cosine", "PSNR"
KEPT, TRUTH = "SFace cosine, edited", "VGG distance to the true edit"


class Reconstruction:
    """Compares images of latents with the images (N, 3, S, S) in [−1, 1] that were inverted.

    The generator's exact image is compared, not the preview that inversion looks at. The VGG
    distance, SFace and the landmarks are in the loss of the inversion as well; the embedding of
    faceres is not.
    """

    def __init__(self, images: Tensor, identity: IdentityScorer) -> None:
        self.images = F.avg_pool2d(images.float(), images.shape[-1] // SIZE)
        self.identity, self.vgg, self.mesh = identity, VGGDistance().bfloat16(), FaceMesh478()
        self.second = load_identity("faceres")
        with torch.no_grad():
            self.points = self.mesh(self.images)[0]
            self.person, self.embedding = identity(self.images), self.second(self.images)

    @torch.no_grad()
    def __call__(self, generator: Generator, latents: Latents) -> dict[str, Tensor]:
        """(N,) by name: VGG distance, cosines of SFace and faceres, landmarks, PSNR.

        Landmarks: how far the mesh's points are, in % of the side.
        """
        images = drawn(generator, latents)
        moved = (self.mesh(images)[0] - self.points)[..., :2]
        square = (images - self.images).square().mean((1, 2, 3))
        return {
            VGG: _each(self.vgg, images, self.images),
            SFACE: (self.identity(images) * self.person).sum(1),
            SECOND: (self.second(images) * self.embedding).sum(1),
            "landmarks": 100 * torch.linalg.vector_norm(moved, dim=2).mean(1),
            PSNR: 10 * torch.log10(4 / square),
        }


class Editability:
    """What edits do to latents of inverted images (N, 3, S, S).

    Args:
        scorers: with a score of each editor's name.
        identity: says whether the person is kept.
        images: those that were inverted.
        edits: an editor of w+ and the two strengths that it is taken to, by the score's name.
        truth: the generator and the N latents that made the images, where these are known.
    """

    def __init__(
        self,
        scorers: ScorerSuite,
        identity: IdentityScorer,
        images: Tensor,
        edits: Mapping[str, tuple[Editor, tuple[float, float]]],
        truth: tuple[Generator, Latents] | None = None,
    ) -> None:
        self.scorers, self.identity, self.edits = scorers, identity, dict(edits)
        self.vgg = VGGDistance().bfloat16()
        with torch.no_grad():
            self.person = identity(F.avg_pool2d(images.float(), images.shape[-1] // SIZE))
            self.true = None if truth is None else self._edited(*truth)

    @torch.no_grad()
    def __call__(self, generator: Generator, latents: Latents) -> dict[str, Tensor]:
        """(N,) by name.

        "NAME, change": of the edit's own score from its first strength to its second; "SFace
        cosine, edited": the least, over the edits, of an edited face with the inverted image;
        "VGG distance to the true edit": the mean over the edits, where the truth is known.
        """
        images = self._edited(generator, latents)
        found, cosines, distances = {}, [], []
        for name, pair in images.items():
            column = self.scorers.names.index(name)
            low, high = (self.scorers(part)[:, column] for part in pair)
            found[f"{name}, change"] = high - low
            cosines += [(self.identity(part) * self.person).sum(1) for part in pair]
            if self.true is not None:
                both = zip(pair, self.true[name], strict=True)
                distances += [_each(self.vgg, part, true) for part, true in both]
        found[KEPT] = torch.stack(cosines).amin(0)
        if distances:
            found[TRUTH] = torch.stack(distances).mean(0)
        return found

    def _edited(self, generator: Generator, latents: Latents) -> dict[str, list[Tensor]]:
        latents = generator.map(latents, "w+")
        return {
            name: [drawn(generator, editor.edit(latents, strength)) for strength in strengths]
            for name, (editor, strengths) in self.edits.items()
        }


@torch.no_grad()
def drawn(generator: Generator, latents: Latents) -> Tensor:
    """Exact images of latents, averaged to (N, 3, 256, 256), in [−1, 1]."""
    size = generator.exact_size
    images = [F.avg_pool2d(generator.synthesize(one, size=size), size // SIZE) for one in latents]
    return torch.cat(images).clamp(-1, 1)


def _each(distance: VGGDistance, images: Tensor, others: Tensor) -> Tensor:
    pairs = zip(images.split(1), others.split(1), strict=True)
    return torch.cat([distance(image, other) for image, other in pairs])
