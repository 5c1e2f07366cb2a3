"""Learn the encoder of photographs from the generator's own images, whose codes are known.

    python -m scripts.train_encoder [--faces 1800]    # one core: minutes, after scripts.train_heads

The faces are those that the heads were trained on (scripts/train_heads.py draws and keeps them;
where they are not in the cache they are drawn first). They are changed in light, sharpness and
place as photographs differ, and what the encoder reads of them is kept, in parts of 128 faces, so
that a run that is stopped goes on where it was. Then ridge regression, in closed form. The result,
facenb/data/encoder_mobilestylegan-ffhq-1024.safetensors, holds how it was made and its errors on
held-out faces by the number of faces that it was learned from.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Tensor
from tqdm import tqdm

from facenb.generators import load_generator
from facenb.generators.mobilestylegan import NAME
from facenb.photos.encoder import SIZES, Features
from facenb.seeds import random_for
from facenb.storage.cache import cache_dir
from facenb.storage.files import atomic_write, write_tensors
from scripts.train_heads import HELD_OUT, PSI, Pool

OUT = Path(__file__).resolve().parent.parent / "facenb" / "data" / f"encoder_{NAME}.safetensors"
POOLED, PART, SEED = 1800, 128, 15
RANK = 320
WEIGHTS = (1.0, 1.5, 1.0, 1.0, 1.0)  # of the kinds of features, in `SIZES`' order
RIDGES = (0.1, 0.2, 0.4, 0.8, 1.6)  # times the mean of the kernel's diagonal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--faces", type=int, default=POOLED)
    args = parser.parse_args()
    generator = load_generator(NAME).variant(precision=torch.bfloat16)
    pool = Pool(generator.network, POOLED, ("64", "256"))
    pool.fill()
    read = Features()
    count = min(HELD_OUT + args.faces, pool.count)
    parts = range(0, count, PART)
    features = torch.cat([
        part_of_features(pool, read, start) for start in tqdm(parts, "features", mininterval=30)
    ])[:count]  # fmt: skip
    tensors, curve = learn(generator.network.w_avg, features.float(), pool.codes[:count])
    provenance = {
        "command": f"python -m scripts.train_encoder --faces {args.faces}",
        "generator": generator.space_fingerprint,
        "faces": count - HELD_OUT,
        "held out": {"faces": HELD_OUT, "psi": PSI},
        "curve: faces, ridge, unexplained variance of w+ on held-out faces": curve,
        "hardware": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
    }
    write_tensors(args.out, tensors, {"provenance": json.dumps(provenance)})


@torch.no_grad()
def part_of_features(pool: Pool, read: Features, start: int) -> Tensor:
    """Features (128, 14,360) in half precision; the held-out faces are left unchanged."""
    path = cache_dir() / "encoder" / pool.folder.name / f"{start:05}.safetensors"
    if path.exists():
        return load_file(path)["features"]
    random, features = random_for(SEED, "changes", start), []
    for first in range(start, min(start + PART, pool.count), 8):
        pixels = torch.from_numpy(pool.images["256"][first : first + 8])
        images = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
        features.append(read(images if first < HELD_OUT else changed(images, random)))
    part = torch.cat(features).half()
    atomic_write(path, save({"features": part}))
    return part


def changed(images: Tensor, random: torch.Generator) -> Tensor:
    """Images (N, 3, S, S) as photographs differ from the generator's.

    Gain, offset and colour of a few per cent, blur down to a third of the pixels, noise of up to
    .04, a shift and a scale of up to 2 %, each drawn for each image.
    """
    n, side = len(images), images.shape[-1]

    def draw(*shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=random) * 2 - 1

    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 + 0.02 * draw(1)[:, 0]
    theta[:, :, 2] = 0.02 * draw(2)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    blurred = []
    for image, sharp in zip(images.split(1), draw().tolist(), strict=True):
        if sharp < 0:  # half of the images stay as sharp as they are
            small = round(side * (1 + sharp * 2 / 3))
            image = F.interpolate(image, (small, small), mode="bilinear", antialias=True)
            image = F.interpolate(image, (side, side), mode="bilinear")
        blurred.append(image)
    images = torch.cat(blurred)
    images = images * (1 + 0.08 * draw(1, 1, 1) + 0.04 * draw(3, 1, 1)) + 0.06 * draw(1, 1, 1)
    noise = torch.randn(images.shape, generator=random) * 0.04 * draw(1, 1, 1).clamp(min=0)
    return (images + noise).clamp(-1, 1)


def learn(
    w_avg: Tensor, features: Tensor, codes: Tensor
) -> tuple[dict[str, Tensor], list[list[float]]]:
    """Ridge regression of the codes on the features, in its dual form, of rank 320."""
    seen, y = features[HELD_OUT:], codes[HELD_OUT:].flatten(1)
    mean, scale, shift = y.mean(0), *_scaling(seen)
    x = torch.addcmul(shift, features, scale)
    kernel = x @ x[HELD_OUT:].T
    # the codes by their principal components: as many as the map has anyway, and as many again
    _, _, axes = torch.pca_lowrank(y - mean, q=min(2 * RANK, len(y) - 1), niter=3)
    targets = (y - mean) @ axes
    held_out = codes[:HELD_OUT].flatten(1)
    total = (held_out - w_avg.repeat(codes.shape[1])).square().sum()
    curve, best = [], None
    for count in sorted({len(y) // 4, len(y) // 2, len(y)}):
        for ridge in RIDGES:
            inner = kernel[HELD_OUT : HELD_OUT + count, :count]
            inner = inner + ridge * inner.diagonal().mean() * torch.eye(count)
            dual = torch.linalg.solve(inner, targets[:count])
            found = kernel[:HELD_OUT, :count] @ dual @ axes.T + mean
            error = float((found - held_out).square().sum() / total)
            curve.append([count, ridge, round(error, 4)])
            print(curve[-1], flush=True)
            if count == len(y) and (best is None or error < best[0]):
                best = error, dual
    fitted = kernel[HELD_OUT:] @ best[1]
    _, _, kept = torch.linalg.svd(fitted, full_matrices=False)
    kept = kept[:RANK].T
    read, write = x[HELD_OUT:].T @ (best[1] @ kept), (axes @ kept).T
    # halves reach 65,504: both factors of one size
    size = read.std() / write.std()
    tensors = {"scale": scale, "shift": shift, "read": read / size.sqrt(),
               "write": write * size.sqrt(), "mean": mean.view(codes.shape[1:])}  # fmt: skip
    return {name: tensor.half().contiguous() for name, tensor in tensors.items()}, curve


def _scaling(features: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift: mean 0, deviation 1 (small ones less), each kind of its weight."""
    deviation, mean = torch.std_mean(features, 0)
    kinds = zip(deviation.split(SIZES), WEIGHTS, strict=True)
    scale = torch.cat([
        weight**0.5 / (part + 0.1 * part.mean()) / len(part) ** 0.5 for part, weight in kinds
    ])  # fmt: skip
    return scale, -mean * scale


if __name__ == "__main__":
    main()
