"""The scores that notebooks 00 to 09 ask for, so that a first run draws next to none of the images.

    python -m scripts.precompute          # an hour on two cores

Runs these notebooks with a cache of their own and without the scores that ship, then gathers all
scores from that cache. At the same commit, the same command goes on where it was stopped.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from facenb.generators import DEFAULT, load_generator
from facenb.precomputed import file_name, group_of
from facenb.storage import cache
from facenb.storage.checkout import current_commit
from facenb.storage.files import atomic_write, sha256_tensors, write_tensors

NOTEBOOKS = [f"{number:02d}" for number in range(10)]
OUT = Path(__file__).resolve().parent.parent / "facenb" / "data" / file_name(DEFAULT)
# parts of the cache that have no scores
SHARED = ("assets", "converted", "generators", "nets", "steps/images")


def main() -> None:
    commit, home = current_commit(), cache.cache_dir()
    own = home / "precompute"
    begun = own / "commit"
    if not begun.is_file() or begun.read_text() != commit:  # scores of other code
        shutil.rmtree(own, ignore_errors=True)
    for part in SHARED:
        (home / part).mkdir(parents=True, exist_ok=True)
        if not (own / part).is_symlink():
            (own / part).parent.mkdir(parents=True, exist_ok=True)
            (own / part).symlink_to(home / part)
    atomic_write(begun, commit.encode())
    os.environ |= {"FACENB_CACHE": str(own), "FACENB_FRESH": "1"}
    subprocess.run([sys.executable, "-m", "facenb.run", *NOTEBOOKS], check=True)
    generator = load_generator(DEFAULT)
    tensors = gathered(generator.space_fingerprint)
    provenance = {
        "command": "python -m scripts.precompute",
        "generator": generator.fingerprint,
        "commit": commit,
        "hardware": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
    }
    write(tensors, provenance, OUT)
    print(f"{OUT.name}: {OUT.stat().st_size / 1e6:.1f} MB")


def write(tensors: Mapping[str, Tensor], provenance: Mapping[str, object], path: Path) -> None:
    """The file that `facenb.precomputed` reads."""
    images = sum(len(tensor) for name, tensor in tensors.items() if name.endswith("/scores"))
    facts = {**provenance, "images": images, "sha256": sha256_tensors(tensors)}
    write_tensors(path, tensors, {"provenance": json.dumps(facts)})


def gathered(space: str) -> dict[str, Tensor]:
    """Sketches and scores (in half precision) by group, each image once."""
    groups: dict[str, dict[tuple[float, ...], Tensor]] = {}
    for step in ("edit-scores", "identities"):
        for path in sorted((cache.cache_dir() / "steps" / step).glob("*.safetensors")):
            with safe_open(path, "pt") as file:
                facts = json.loads(file.metadata()["facts"])
                sketches, scores = file.get_tensor("sketches"), file.get_tensor("scores")
            if not facts["generator"].startswith(space):
                continue
            rows = groups.setdefault(group_of(facts), {})
            rows.update(zip(map(tuple, sketches.tolist()), scores.half(), strict=True))
    tensors = {}
    for name, rows in sorted(groups.items()):
        ordered = sorted(rows)
        tensors[f"{name}/sketches"] = torch.tensor(ordered)
        tensors[f"{name}/scores"] = torch.stack([rows[key] for key in ordered])
    return tensors


if __name__ == "__main__":
    main()
