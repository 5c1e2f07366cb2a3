"""`make gpu` without a GPU: its files, its clock, and what is left of it after a kill."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import small_stylegan2

import facenb
from facenb.assets import PACKAGES, package_folder
from facenb.assets.converted import converted_path
from facenb.editors import Editors
from facenb.storage.cache import cache_dir
from scripts import gpu
from scripts.gpu import NOT_BEGUN, PARTS, Run

NAME = "digiface-dcgan-64"
FFHQ = "mobilestylegan-ffhq-1024"
QUICK = {"by hand": ("tests/test_kernels.py", "-k", "by_hand")}


@pytest.fixture
def run(tmp_path, monkeypatch) -> Callable[..., Run]:
    generator = facenb.load_generator(NAME)
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(gpu, "bench_hessian_penalty", lambda *_, **__: {"mean": "2 ×"})
    return lambda minutes=5.0, **given: Run(
        generator, "smoke", minutes, tmp_path / "out", **{"checks": QUICK} | given
    )


def recorded(run: Run) -> dict:
    return json.loads((run.out / "results.json").read_text())["stages"]


def test_all_stages_with_what_they_found(run) -> None:
    session = run()
    session.go()
    found = recorded(session)
    assert list(found) == list(PARTS)
    assert {stage["status"] for stage in found.values()} == {"done"}
    assert found["kernel"]["by hand"]["said"].startswith("2 passed")
    assert found["penalty"][NAME] == {"status": "done", "mean": "2 ×"}
    assert found["SDD"]["steps"] == found["SDD"]["of"] == 12
    assert found["SDD"]["held-out accuracy"] >= 0
    assert found["DTH"]["penalty"] > 0 and found["DTH"]["penalty of the start"] > 0
    files = {path.name for path in session.out.iterdir()}
    assert files == {"results.json", f"histories_{NAME}.safetensors"} | {
        f"{name.lower()}_{NAME}.safetensors" for name in ("SDD", "DTH", "SHP", "DTJ", "HDP")
    }
    editors = Editors.load(session.out / f"dth_{NAME}.safetensors")
    assert editors.provenance["steps"] == 6 and "device" in editors.provenance
    assert len(load_file(session.out / f"histories_{NAME}.safetensors")["DTH/penalty"]) == 6
    facts = json.loads((session.out / "results.json").read_text())["provenance"]
    assert {"commit", "device", "torch build", "command", "begun"} <= facts.keys()


def test_a_kill_costs_the_stage_in_work_alone_and_training_goes_on(run, monkeypatch) -> None:
    fit = gpu.DirectionLearner.fit

    def killed(self, *given, **named):
        if self.config.method == "SHP":
            raise KeyboardInterrupt
        return fit(self, *given, **named | {"seconds": 0})  # as though the minutes were over

    monkeypatch.setattr(gpu.DirectionLearner, "fit", killed)
    session = run()
    with pytest.raises(KeyboardInterrupt):
        session.go()
    found = recorded(session)
    assert list(found) == ["kernel", "penalty", "SDD", "DTH"]
    assert found["SDD"]["status"] == "done: as far as its minutes go"
    assert found["SDD"]["steps"] == 1
    monkeypatch.undo()
    monkeypatch.setenv("FACENB_CACHE", str(session.out.parent / "cache"))
    for minutes in (1e-6, 2e-6):
        run(minutes, checks={}).go()
    (first, second) = json.loads((session.out / "results.json").read_text())["earlier"]
    assert first["stages"] == found and second["stages"]["SDD"]["status"] == NOT_BEGUN
    again = run(checks={})
    again.record |= {"provenance": {}, "stages": {}}
    begun, generator = [], again.generator
    monkeypatch.setattr(gpu, "DirectionLearner", lambda config: begun.append(config) or
                        facenb.methods.two_stage.DirectionLearner(config))  # fmt: skip
    assert again.train("SDD", 60)["steps"] == 12
    assert again.train("DTH", 60)["steps"] == 6, "anew, since its start has changed"
    one = facenb.methods.two_stage.DirectionLearner(begun[0]).fit(generator)
    assert torch.equal(one.vectors_, again.editors["SDD"].vectors), "the same as in one go"


def test_a_stage_that_fails_is_told_and_the_others_go_on(run, monkeypatch) -> None:
    def fails(*_, **__):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(gpu, "bench_hessian_penalty", fails)
    session = run(checks={"none": ("tests/nowhere.py",)})
    session.stages = lambda: {
        "kernel": session.check, "penalty": session.penalty,
        "DTH": lambda budget: session.train("DTH", budget),
    }  # fmt: skip
    session.go()
    found = recorded(session)
    assert found["penalty"]["status"] == f"not all: {NAME}"
    assert found["penalty"][NAME]["status"] == "failed: RuntimeError: CUDA out of memory"
    assert found["kernel"]["none"]["status"] == "failed: pytest ended by 4"
    assert found["DTH"]["status"] == "not begun: there are no directions of stage one"


def test_minutes_are_parted_and_what_is_left_over_goes_on(run, monkeypatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(gpu.time, "monotonic", lambda: clock[0])
    session, given = run(12.0, begun=0.0), {}

    def stage(name: str, spends: float) -> Callable[[float], dict]:
        def work(budget: float) -> dict:
            given[name] = budget
            clock[0] += spends
            return {}

        return work

    session.stages = lambda: {
        "kernel": stage("kernel", 0.0), "SDD": stage("SDD", 700.0), "DTH": stage("DTH", 30.0),
        "HDP": stage("HDP", 0.0),
    }  # fmt: skip
    session.go()
    assert given["kernel"] == pytest.approx(720 * 1 / 10)
    assert given["SDD"] == pytest.approx(720 * 5 / 9), "what the first left over is shared"
    assert given["DTH"] == pytest.approx(20 * 2 / 4)
    assert "HDP" not in given and recorded(session)["HDP"]["status"] == NOT_BEGUN


def test_the_penalty_in_w_by_size(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(gpu, "bench_hessian_penalty", lambda *_, **__: {})
    session = Run(small_stylegan2(), "smoke", 5, tmp_path, sizes=(32,))
    session.record["stages"] = {}
    (found,) = (v for k, v in session.penalty(60).items() if "32 px, batch 18" in k)
    assert found["kernel ms"] > 0 and found["difference of the gradients"] < 1e-6
    late = session.penalty(-1.0)
    assert late[NAME]["status"] == NOT_BEGUN


def test_it_says_which_files_it_needs(tmp_path, monkeypatch, capsys) -> None:
    net, weights = converted_path(FFHQ), package_folder(PACKAGES[NAME]) / "weights.tar"
    here = cache_dir()
    assert gpu.main(["--needs"]) == 0
    assert "MB  " + str(net) in capsys.readouterr().out.replace("\n", " ")
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path))
    assert gpu.main(["--minutes", "1"]) == 1
    said = capsys.readouterr().out
    assert said.count("MISSING") == 2 and "FACENB_CACHE=FOLDER" in said and weights.name in said
    for path in (net, weights):  # these alone
        (copy := tmp_path / path.relative_to(here)).parent.mkdir(parents=True)
        shutil.copy(path, copy)
    assert gpu.main(["--needs"]) == 0
    if not torch.cuda.is_available():
        assert gpu.main([]) == 1
        assert "no CUDA device here" in capsys.readouterr().err
    program = (
        "import sys, socket; from scripts import gpu; socket.socket.connect = None\n"
        "gpu.Run.stages = lambda self: {}; gpu.PARTS.clear()\n"
        f"sys.exit(gpu.main(['--device', 'cpu', '--out', {str(tmp_path / 'out')!r}]))"
    )
    root = Path(gpu.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with (tmp_path / weights.relative_to(here)).open("r+b") as stream:
        stream.write(b"x")
    assert gpu.main(["--needs"]) == 1, "a damaged file is none"


def test_minutes_that_are_none(capsys) -> None:
    for given in ("0", "-1", "nan", "inf"):
        with pytest.raises(SystemExit):
            gpu.main(["--minutes", given])
        assert "expected a number above 0" in capsys.readouterr().err
