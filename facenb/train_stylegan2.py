"""Train the embedded StyleGAN2: `python -m facenb.train_stylegan2 --config cpu` (or gpu).

It learns from samples of the DigiFace DCGAN that pass the quality gate, so that it needs no data
set and no real person's face. What ships is the running mean of its weights, in half precision:
`load_generator("facenb-stylegan2-32")`. Killed work goes on; the folder that it prints holds the
checkpoint, grids of samples and the curves.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save

from facenb.data import data_path
from facenb.generators import EMBEDDED, load_generator
from facenb.scorers import load_identity, load_scorers
from facenb.storage.cache import cache_dir, cached
from facenb.storage.files import atomic_write
from facenb.training.configs import CONFIGS, Config, load_config
from facenb.training.pool import make_pool
from facenb.training.report import draw_curves
from facenb.training.trainer import Trainer
from facenb.training.watch import Watch

_MEAN_OF = 10_000  # codes to average for w̄


def prepare(config: Config, device: str = "cpu", folder: Path | None = None) -> Trainer:
    """A training with its pool of pictures and its folder, in the cache unless one is given."""
    generator = load_generator(EMBEDDED, device)
    scorers = load_scorers(framing=generator.framing, device=device)
    shape = {"samples": config.pool, "resolution": config.layout.resolution, "seed": config.seed}
    # kept, since other arithmetic could round a pixel otherwise, and that were another training
    inputs = shape | {"generator": generator.fingerprint, "scorers": scorers.fingerprint}
    found = cached("pool", inputs, lambda: {"pool": make_pool(generator, scorers, **shape)})
    pool = found["pool"]
    folder = folder or cache_dir() / "training" / config.name
    identity = load_identity(framing=generator.framing, device=device)
    watch = Watch(pool, identity, folder, config.distance_samples, config.seed)
    return Trainer(config, pool, folder, watch, device)


@torch.no_grad()
def export(trainer: Trainer, path: Path) -> None:
    """Write the averaged generator in half precision, with its provenance, as safetensors."""
    network, config = trainer.average, trainer.config
    random = torch.Generator().manual_seed(config.seed)
    z = torch.randn(_MEAN_OF, config.layout.z_dim, generator=random).to(trainer.device)
    network.w_avg.copy_(network.map(z).mean(dim=0))
    state = {name: value.half().cpu().contiguous() for name, value in network.state_dict().items()}
    if bad := [name for name, value in state.items() if not value.isfinite().all()]:
        raise ValueError(f"{bad[0]}: expected numbers that half precision holds, given larger.")
    facts = {
        "name": config.name,
        "steps": trainer.step,
        "pictures": trainer.step * config.batch,
        "hardware": trainer.device.type,
        "trained on": "samples of digiface-dcgan-64 with a quality score above the gate",
        "recognition distance": dict(
            zip(
                map(int, trainer.history.get("distance_step", [])),
                trainer.history.get("distance", []),
                strict=True,
            )
        ),
        "configuration": {k: v for k, v in trainer.identity.items() if k != "name"},
    }
    atomic_write(path, save(state, {"facts": json.dumps(facts)}))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m facenb.train_stylegan2")
    parser.add_argument("--config", default="cpu", choices=list(CONFIGS))
    parser.add_argument("--device", help="cpu, or cuda for the configuration gpu, by default")
    parser.add_argument("--steps", type=int, help="other than the configuration's")
    parser.add_argument("--folder", type=Path, help="for checkpoint, grids and curves")
    options = parser.parse_args(arguments)
    changes = {} if options.steps is None else {"steps": options.steps}
    config = load_config(options.config, **changes)
    device = options.device or {"cpu": "cpu", "gpu": "cuda"}[options.config]
    trainer = prepare(config, device, options.folder)
    folder = trainer.checkpoint.parent
    print(f"{config.name}: {len(trainer.pool):,} pictures, folder {folder}", flush=True)
    trainer.train()
    trainer.watch.grid(trainer.average, trainer.step)
    floor = trainer.watch.floor()
    print(f"Recognition distance to other training pictures: {floor:.4f}", flush=True)
    draw_curves(trainer.history, config, floor, folder / "curves.png")
    path = data_path("__init__.py").parent / f"{config.name}.safetensors"
    export(trainer, path)
    print(f"Wrote {path}", flush=True)


if __name__ == "__main__":
    main()
