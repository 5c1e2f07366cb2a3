"""Train the heads that make MobileStyleGAN's small images, on the generator's own images.

    python -m scripts.train_heads [--faces 1800] [--steps 10000]      # two cores: some two hours
    python -m scripts.train_heads --preview                           # the preview's alone

Everything goes to the cache until the end, and a run that is stopped goes on where it was: first
the faces (feature maps and images, 19 GB; the preview's 9), then the training. The results, in
facenb/data, hold how they were made, and their errors on held-out faces (ψ = 0.7) in dB. Samples,
boundaries and all else that was measured on images of other heads is void with new ones; nothing
is measured on previews.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from facenb.assets.converted import converted_path, load_net
from facenb.generators.mobilestylegan import LAYOUTS, NAME, Head, MobileStyleGANNetwork
from facenb.generators.mobilestylegan.heads import heads_file, preview_file
from facenb.storage.cache import cache_dir
from facenb.storage.checkpoints import load_checkpoint, save_checkpoint
from facenb.storage.files import atomic_write, write_tensors

HELD_OUT, PSI = 96, 0.7  # faces that are never trained on, and their truncation
MIXED = 0.3  # fraction of the faces whose later layers have another face's codes
RATE, EMA, EVERY = 6e-4, 0.999, 250
BATCH = {"64": 12, "256": 8, "preview": 8}
CROP, EDGE = 64, 4  # pixels of the maps that a step sees, and those at its edges that do not count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=1800)
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--preview", action="store_true", help="the preview's head, not the others")
    parser.add_argument("--out", type=Path, help="the file; by default the one that ships")
    args = parser.parse_args()
    names = ("preview",) if args.preview else ("64", "256")
    network = MobileStyleGANNetwork()
    network.load_state_dict(load_net(NAME)[0])
    network.freeze(torch.bfloat16)
    pool = Pool(network, args.faces, names)
    pool.fill()
    identity = {"faces": args.faces, "steps": args.steps, "weights": converted_path(NAME).stem}
    training = Training(network, pool, identity, args.steps)
    training.run()
    training.write(args.out or (preview_file if args.preview else heads_file)(NAME))


class Pool:
    """Faces on disk: codes, feature maps (bfloat16), images (8 bits); the first are held out."""

    def __init__(self, network: MobileStyleGANNetwork, faces: int, names: Sequence[str]) -> None:
        self.network, self.count = network, HELD_OUT + faces
        self.layouts = {name: LAYOUTS[name] for name in names}
        self.folder = cache_dir() / "heads" / f"{converted_path(NAME).stem}-{faces}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.codes = self._codes()
        self.maps, self.images = {}, {}
        for name, layout in self.layouts.items():
            shape = (layout.side, layout.side, layout.channels)
            self.maps[name] = self._file(f"maps{layout.side}", shape, np.int16)
            shape = (layout.size, layout.size, 3)
            self.images[name] = self._file(f"images{layout.size}", shape, np.uint8)

    def _file(self, name: str, shape: tuple[int, ...], kind: type) -> np.ndarray:
        path = self.folder / name
        mode = "r+" if path.exists() else "w+"
        return np.memmap(path, kind, mode, shape=(self.count, *shape))

    @torch.no_grad()
    def _codes(self) -> Tensor:
        random = torch.Generator().manual_seed(2021)
        w = self.network.map(torch.randn(self.count, 512, generator=random))
        psi = torch.rand(self.count, 1, generator=random) * 0.5 + 0.5
        psi[:HELD_OUT] = PSI
        w = torch.lerp(self.network.w_avg, w, psi)
        codes = w[:, None].repeat(1, self.network.layout.w_layers, 1)
        for i in range(HELD_OUT, self.count):
            if torch.rand((), generator=random) < MIXED:
                layer = int(torch.randint(4, 23, (), generator=random))
                codes[i, layer:] = w[int(torch.randint(HELD_OUT, self.count, (), generator=random))]
        return codes

    @torch.no_grad()
    def fill(self) -> None:
        done = self.folder / "-".join(["done", *self.layouts])
        first = int(done.read_text()) if done.exists() else 0
        for i in tqdm(range(first, self.count), "faces", self.count, initial=first, mininterval=30):
            codes = self.codes[i : i + 1]
            image = self.network.synthesize(codes).clamp(-1, 1)
            for name, layout in self.layouts.items():
                maps = self.network.features(codes, layout.side)[0].permute(1, 2, 0).contiguous()
                self.maps[name][i] = maps.view(torch.int16).numpy()
                small = F.avg_pool2d(image, 1024 // layout.size)[0].permute(1, 2, 0)
                self.images[name][i] = ((small + 1) * 127.5).round().byte().numpy()
            if i % 50 == 49 or i == self.count - 1:
                atomic_write(done, str(i + 1))

    def batch(self, name: str, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps (N, C, S, S) bfloat16, codes (N, 23, 512), images (N, 3, size, size)."""
        index = index.sort().values
        maps = torch.from_numpy(self.maps[name][index.numpy()]).view(torch.bfloat16)
        images = torch.from_numpy(self.images[name][index.numpy()]).float() / 127.5 - 1
        return maps.permute(0, 3, 1, 2), self.codes[index], images.permute(0, 3, 1, 2)


class Training:
    """Adam with one cycle of the rate, an average of the weights, the heads in turn."""

    def __init__(
        self, network: MobileStyleGANNetwork, pool: Pool, identity: dict, steps: int
    ) -> None:
        torch.manual_seed(0)
        self.pool, self.steps, self.noise = pool, steps, network.stored_noise()
        self.identity = identity
        self.checkpoint = pool.folder / "-".join(["training", *pool.layouts, f"{steps}.pt"])
        self.heads = {name: self._head(network, name) for name in pool.layouts}
        self.average = copy.deepcopy(self.heads)
        self.optimizers = {
            name: torch.optim.Adam(head.parameters(), RATE, betas=(0.9, 0.99))
            for name, head in self.heads.items()
        }
        self.step, self.history = 0, []
        if state := load_checkpoint(self.checkpoint, identity):
            self.step, self.history = state["step"], state["history"]
            torch.set_rng_state(state["random"])
            for name in self.pool.layouts:
                self.heads[name].load_state_dict(state["heads"][name])
                self.average[name].load_state_dict(state["average"][name])
                self.optimizers[name].load_state_dict(state["optimizers"][name])

    def _head(self, network: MobileStyleGANNetwork, name: str) -> Head:
        head = Head(LAYOUTS[name])
        index = HELD_OUT + torch.arange(64)
        maps = self.pool.batch(name, index)[0].permute(0, 2, 3, 1).flatten(0, 2)
        maps = maps[:: max(1, len(maps) // 60_000)].double()
        values, vectors = torch.linalg.eigh(maps.T @ maps / len(maps))
        scale = torch.rsqrt(values.clamp(min=0) + 1e-3 * values.mean())
        head.whiten.copy_((vectors * scale).T[-head.layout.components :])  # the largest come last
        head.w_avg.copy_(network.w_avg)
        self._start_linear(head, name, index)
        return head.to(memory_format=torch.channels_last)

    @torch.no_grad()
    def _start_linear(self, head: Head, name: str, index: Tensor) -> None:
        """Least squares from the whitened maps to the pixels of the image, scale² at each place.

        The maps are uncorrelated, so that every coefficient is a ratio of its own.
        """
        maps, _, images = self.pool.batch(name, index)
        pixels = F.pixel_unshuffle(images, head.layout.scale).permute(0, 2, 3, 1).flatten(0, 2)
        white = maps.permute(0, 2, 3, 1).flatten(0, 2).float() @ head.whiten.T
        head.skip.weight.copy_((pixels.T @ white / white.square().sum(0))[:, :, None, None])
        head.skip.bias.zero_()

    def run(self) -> None:
        for step in tqdm(range(self.step, self.steps), "training", self.steps, initial=self.step,
                         mininterval=30):  # fmt: skip
            for name in self.pool.layouts:
                self._train(name, step)
            self.step = step + 1
            if self.step % EVERY == 0 or self.step == self.steps:
                errors = {name: self.psnr(name) for name in self.pool.layouts}
                self.history.append([self.step, *errors.values()])
                print(self.step, {n: round(e, 2) for n, e in errors.items()}, flush=True)
                self._save()

    def _train(self, name: str, step: int) -> None:
        head, optimizer = self.heads[name], self.optimizers[name]
        warm = min(1, (step + 1) / (0.05 * self.steps))
        rate = RATE * warm * (0.02 + 0.98 * (1 + math.cos(math.pi * step / self.steps)) / 2)
        for group in optimizer.param_groups:
            group["lr"] = rate
        index = HELD_OUT + torch.randint(self.pool.count - HELD_OUT, (BATCH[name],))
        maps, codes, images = self.pool.batch(name, index)
        maps, images, noise = self._crop(name, maps, images)
        with torch.autocast("cpu", torch.bfloat16):
            found = head(maps, codes, noise)
        if maps.shape[-1] < head.layout.side:
            edge = slice(head.layout.scale * EDGE, -head.layout.scale * EDGE)
            found, images = found[:, :, edge, edge], images[:, :, edge, edge]
        loss = F.mse_loss(found, images) + 0.05 * F.l1_loss(found, images)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        decay = min(EMA, (step + 1) / (step + 10))
        with torch.no_grad():
            for kept, now in zip(self.average[name].parameters(), head.parameters(), strict=True):
                kept.lerp_(now, 1 - decay)

    def _crop(self, name: str, maps: Tensor, images: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """A part of large maps, and of images and noise: as good a lesson."""
        side, scale = maps.shape[-1], LAYOUTS[name].scale
        if side <= CROP:
            return maps, images, self.noise
        y, x = torch.randint(side - CROP + 1, (2,)).tolist()
        rows, columns = (slice(scale * i, scale * (i + CROP)) for i in (y, x))
        noise = list(self.noise)
        for i in LAYOUTS[name].noise:
            noise[i] = noise[i][:, :, rows, columns]
        maps = maps[:, :, y : y + CROP, x : x + CROP]
        return maps, images[:, :, rows, columns], noise

    @torch.no_grad()
    def psnr(self, name: str) -> float:
        """On the held-out faces, of a range of 2, in dB: of the mean squared error of all."""
        errors = []
        for index in torch.arange(HELD_OUT).split(8):
            maps, codes, images = self.pool.batch(name, index)
            with torch.autocast("cpu", torch.bfloat16):
                found = self.average[name](maps, codes, self.noise).clamp(-1, 1)
            errors.append(F.mse_loss(found, images))
        return 10 * math.log10(4 / float(torch.stack(errors).mean()))

    def _save(self) -> None:
        def states(modules: dict) -> dict:
            return {name: dict(module.state_dict()) for name, module in modules.items()}

        state = {"step": self.step, "history": self.history, "random": torch.get_rng_state()}
        state |= {"heads": states(self.heads), "average": states(self.average)}
        state |= {"optimizers": states(self.optimizers)}
        save_checkpoint(self.checkpoint, self.identity, state)

    def write(self, path: Path) -> None:
        """The averaged heads in half precision, with provenance."""
        tensors = {
            f"{name}/{key}": tensor.half().contiguous()
            for name, head in self.average.items()
            for key, tensor in head.state_dict().items()
        }
        command = f"python -m scripts.train_heads --faces {self.identity['faces']} "
        command += f"--steps {self.steps}" + " --preview" * ("preview" in self.heads)
        provenance = self.identity | {
            "command": command,
            "step": self.step,
            "held out": {
                "faces": HELD_OUT,
                "psi": PSI,
                f"PSNR in dB by step, {' and '.join(self.heads)}": self.history,
            },
            "hardware": f"{platform.machine()}, {torch.get_num_threads()} threads, bfloat16",
            "torch": torch.__version__,
        }
        write_tensors(path, tensors, {"provenance": json.dumps(provenance)})


if __name__ == "__main__":
    main()
