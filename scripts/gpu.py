"""What a CUDA machine is wanted for, in so many minutes, from cached files alone.

    python -m scripts.gpu --needs                      # the files it needs: are they here?
    python -m scripts.gpu [--minutes 12] [--out build/gpu]            # make gpu MINUTES=12

In this order, each with its part of the minutes: the kernel against float64, the penalty's cost on
the DCGAN and on FFHQ at 128 and 256 pixels, then the methods of two stages (profile gpu, the
paper's batches), discovery first. What a stage leaves over goes to the later ones. results.json is
written after each stage, so that a kill costs the stage in work at most; of a training not even
that, since it goes on from its checkpoint in the cache when the command is given again. What
sessions before have found stays in the file.

Nothing is fetched: a machine without a network needs FACENB_CACHE with the files of `--needs`.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from subprocess import CalledProcessError

import torch

from benchmarks.penalties import bench_hessian_penalty, bench_in_w
from facenb.cluster import versions
from facenb.editors import Editors
from facenb.errors import FacenbError, plain_streams
from facenb.generators import DEFAULT, EMBEDDED, Generator, load_generator
from facenb.methods.two_stage import (
    METHODS,
    Config,
    DirectionLearner,
    held_out_penalty,
    load_config,
)
from facenb.methods.two_stage.configs import profile_for
from facenb.methods.two_stage.trained import checkpoint_path
from facenb.storage.checkout import current_commit
from facenb.storage.files import atomic_write, sha256_tensor, write_tensors
from scripts.gpu_files import needs, told

ROOT = Path(__file__).resolve().parents[1]
CHECKS = {  # pytest's arguments; what can be checked without a GPU, CI checks
    "values and gradients on the device": ("tests/test_kernels.py", "-k", "on_cuda"),
    "penalties": ("tests/test_penalties.py",),
}
SIZES = (128, 256)
# Parts of the minutes. Discovery is what the second stages start from, and what a laptop trains
# least of; HDP comes last because it learns more in an hour than in minutes.
PARTS = {"kernel": 1.0, "penalty": 1.5, "SDD": 5.0, "DTH": 2.0, "SHP": 1.5, "DTJ": 1.5, "HDP": 2.0}
TRAINED = 0.85  # of a method's minutes; the rest is for measuring what it learned
NOT_BEGUN = "not begun: its minutes were over"
EVERY = 100  # steps to a checkpoint
FRESH = 8  # batches of latents that the penalties of finished directions are compared on


@dataclass
class Run:
    """One session: its clock, its results, and what has been learned so far."""

    generator: Generator
    profile: str
    minutes: float
    out: Path
    sizes: Sequence[int] = SIZES
    checks: Mapping[str, Sequence[str]] = field(default_factory=CHECKS.copy)
    editors: dict[str, Editors] = field(default_factory=dict)
    histories: dict[str, torch.Tensor] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    record: dict = field(default_factory=dict)

    def left(self) -> float:
        """Seconds."""
        return self.begun + 60 * self.minutes - time.monotonic()

    def go(self) -> None:
        """All stages, each with its part of what is left; the record is written after each."""
        stages, earlier = self.stages(), self._earlier()
        self.record |= {"provenance": self._provenance(), "stages": {}, "earlier": earlier}
        self.write()
        for i, (name, stage) in enumerate(stages.items()):
            later = sum(PARTS[other] for other in list(stages)[i:])
            budget = self.left() * PARTS[name] / later
            print(f"{name}: {max(budget, 0):.0f} s of {max(self.left(), 0):.0f} left", flush=True)
            self.record["stages"][name] = self._one(stage, budget)
            self.write()

    def _one(self, stage: Callable[[float], dict], budget: float) -> dict:
        begin = time.monotonic()
        found = self._guarded(stage, budget) if budget >= 1 else {"status": NOT_BEGUN}
        print(f"  {found['status']}", flush=True)
        return found | {"budget s": round(budget, 1), "spent s": round(time.monotonic() - begin, 1)}

    def _guarded(self, part: Callable[[float], dict], budget: float) -> dict:
        """What a part finds; where it fails, why. The others go on."""
        try:
            return {"status": "done"} | part(budget)
        except (FacenbError, RuntimeError, ValueError, OSError, CalledProcessError) as error:
            return {"status": f"failed: {type(error).__name__}: {str(error)[:500]}"}

    def stages(self) -> dict[str, Callable[[float], dict]]:
        """What is done, most valued first."""
        methods = {name: partial(self.train, name) for name in PARTS if name in METHODS}
        return {"kernel": self.check, "penalty": self.penalty} | methods

    def check(self, budget: float) -> dict:
        """The tests of the kernel and of the penalties, by pytest."""
        return self._each("kernel", budget, {
            name: partial(self._tests, arguments) for name, arguments in self.checks.items()
        })  # fmt: skip

    def _tests(self, arguments: Sequence[str], budget: float) -> dict:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        try:
            done = subprocess.run(
                command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=budget,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"status": "stopped: its minutes were over"}
        lines = done.stdout.strip().splitlines()
        if done.returncode == 0:
            return {"status": "done", "said": lines[-1]}
        return {"status": f"failed: pytest ended by {done.returncode}", "said": lines[-20:]}

    def penalty(self, budget: float) -> dict:
        """The time and memory of one step."""
        device, batch = self.generator.device.type, load_config("DTH", self.profile).batch
        parts = {EMBEDDED: lambda _: bench_hessian_penalty(device, rounds=3)}
        if "w" in self.generator.spaces:
            for size in self.sizes:
                name = f"{self.generator.name}, {size} px, batch {batch}"
                parts[name] = lambda _, size=size: bench_in_w(self.generator, size, batch, rounds=3)
        return self._each("penalty", budget, parts)

    def _each(
        self, stage: str, budget: float, parts: Mapping[str, Callable[[float], dict]]
    ) -> dict:
        """Parts of a stage, each recorded when it ends; those that got no time are named."""
        found, end = {}, time.monotonic() + budget
        for name, part in parts.items():
            left = end - time.monotonic()
            found[name] = self._guarded(part, left) if left > 0 else {"status": NOT_BEGUN}
            self.record["stages"][stage] = {"status": "in work"} | found
            self.write()
        bad = [name for name, one in found.items() if one["status"] != "done"]
        return {"status": f"not all: {', '.join(bad)}" if bad else "done"} | found

    def train(self, method: str, budget: float) -> dict:
        """Train for so many seconds, or go on; second stages start from SDD's directions."""
        config, start, place = load_config(method, self.profile), None, ""
        if METHODS[method].second_stage:
            if "SDD" not in self.editors:
                return {"status": "not begun: there are no directions of stage one"}
            start = self.editors["SDD"]
            place = f"_{sha256_tensor(start.vectors)[:8]}"  # discovery may have gone on since
        path = checkpoint_path(self.generator, method, self.profile, config.seed)
        path = path.with_stem(path.stem + place)
        learner = DirectionLearner(config).fit(
            self.generator, None, start, path, EVERY, seconds=TRAINED * budget
        )
        steps = len(learner.history_["loss"])
        found = {
            "status": "done" if steps == config.steps else "done: as far as its minutes go",
            "steps": steps,
            "of": config.steps,
            "batch": config.batch,
            "smallest angle": float(learner.history_["smallest_angle"][-1]),
            "loss, last 100": float(learner.history_["loss"][-100:].mean()),
        }
        if learner.held_out_ is not None:
            found["held-out accuracy"] = learner.held_out_.accuracy
        if METHODS[method].penalty is not None:
            found["penalty"] = self._penalty_of(config, learner.vectors_)
        if start is not None:
            found["penalty of the start"] = self._penalty_of(config, start.vectors)
        self.editors[method] = learner.editors().with_provenance(
            steps=steps, **{k: str(v) for k, v in self.record["provenance"].items()}
        )
        self.histories |= {f"{method}/{k}": v.float() for k, v in learner.history_.items()}
        self.editors[method].save(self.out / f"{method.lower()}_{self.generator.name}.safetensors")
        write_tensors(self.out / f"histories_{self.generator.name}.safetensors", self.histories)
        return found

    def _penalty_of(self, config: Config, vectors: torch.Tensor) -> float:
        return float(held_out_penalty(config, self.generator, vectors, FRESH).mean())

    def write(self) -> None:
        """The record so far."""
        atomic_write(self.out / "results.json", json.dumps(self.record, indent=1) + "\n")

    def _earlier(self) -> list[dict]:
        """The records of the sessions before in the same folder: a new one does not end them."""
        try:
            before = json.loads((self.out / "results.json").read_text())
        except (OSError, ValueError):
            return []
        return [*before.pop("earlier", []), before]

    def _provenance(self) -> dict:
        device = self.generator.device.type
        cuda = device == "cuda"
        return {
            "command": f"python -m scripts.gpu --minutes {self.minutes:g} --device {device}",
            "profile": self.profile,
            "generator": self.generator.fingerprint,
            "commit": current_commit(),
            **versions(),
            "torch build": torch.__version__,
            "python": platform.python_version(),
            "device": torch.cuda.get_device_name() if cuda else f"{device}, {platform.machine()}",
            "begun": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    plain_streams()
    parser = argparse.ArgumentParser(prog="python -m scripts.gpu")
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu")
    parser.add_argument("--device", default="cuda", help="cpu tries the logic, at a small profile")
    parser.add_argument("--profile", default="gpu")
    parser.add_argument("--generator", default=DEFAULT)
    parser.add_argument("--needs", action="store_true", help="list the files, and end")
    options = parser.parse_args(arguments)
    if not options.minutes > 0 or not math.isfinite(options.minutes):
        parser.error(f"--minutes: expected a number above 0, given {options.minutes:g}")
    files = needs(options.generator)
    print(told(files), flush=True)
    if options.needs or not all(files.values()):
        return int(not all(files.values()))
    if options.device == "cuda" and not torch.cuda.is_available():
        print("error: torch finds no CUDA device here. `--device cpu --profile smoke` tries the "
              "logic without one.", file=sys.stderr)  # fmt: skip
        return 1
    generator = load_generator(options.generator, options.device)
    run = Run(generator, profile_for(generator, options.profile), options.minutes, options.out)
    run.go()
    print(f"results: {options.out / 'results.json'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
