"""The set-up: what the Makefile offers and refuses, JupyterLab's settings, and a clean clone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest
from jupyterlab_server.workspaces_handler import WorkspacesManager

from facenb.lab import PLUGIN, VIEWER, WORKSPACE, install_settings, install_workspace
from facenb.run import find_notebooks

TIMEOUT = 1200  # seconds: a clean installation on a slow network


def make(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run make, without what an outer make or environment would hand down."""
    inherited = ("MAKE", "MFLAGS", "VIRTUAL_ENV", "PYTHONPATH", "JUPYTER", "FACENB")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(inherited)}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=folder,
        env=kept | variables,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT,
        check=False,
    )


def test_help_lists_every_target_and_variable(repository: Path) -> None:
    makefile = (repository / "Makefile").read_text()
    shown = make(repository, "help")
    assert shown.returncode == 0
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    assert {"setup", "assets", "figures", "test", "lab", "bench", "clean"} <= set(targets)
    for target in targets:
        assert f"make {target} " in shown.stdout
    variables = ("PROFILE", "NOTEBOOK", "SEED", "DEVICE", "GENERATOR", "PYTHON", "MINUTES", "OUT")
    for variable in variables:
        assert f"{variable}=" in shown.stdout
    assert make(repository).stdout == shown.stdout, "`make` alone is `make help`"


def test_variables_reach_the_driver(repository: Path) -> None:
    wanted = ["PROFILE=smoke", "NOTEBOOK=00 02", "SEED=3", "DEVICE=cuda", "GENERATOR=other"]
    planned = make(repository, "--dry-run", "figures", *wanted).stdout
    assert (
        "-m facenb.run 00 02 --profile smoke --seed 3 --device cuda --generator 'other'" in planned
    )


def test_minutes_reach_the_gpu_session_and_nothing_is_fetched(repository: Path) -> None:
    planned = make(repository, "--dry-run", "gpu", "MINUTES=3").stdout
    assert "-m scripts.gpu --minutes 3 --out 'build/gpu'" in planned
    assert "facenb.assets" not in planned


def test_an_old_python_is_refused_before_anything_is_made(repository: Path, tmp_path: Path) -> None:
    old = tmp_path / "python3.8"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.8.1" && exit 0\nexit 1\n')
    old.chmod(0o755)
    told = make(repository, "setup", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
    assert told.returncode != 0
    assert "Python 3.8.1; Python 3.11 or newer is needed" in told.stdout
    absent = make(repository, "setup", "PYTHON=python-nowhere", f"VENV={tmp_path / 'venv'}")
    assert absent.returncode != 0
    assert "there is no python-nowhere" in absent.stdout
    assert not (tmp_path / "venv").exists()


def test_a_python_without_venv_is_refused(repository: Path, tmp_path: Path) -> None:
    bare = tmp_path / "python3"
    bare.write_text('#!/bin/sh\ncase "$2" in *venv*) exit 1;; esac\nexit 0\n')
    bare.chmod(0o755)
    told = make(repository, "setup", f"PYTHON={bare}", f"VENV={tmp_path / 'venv'}")
    assert told.returncode != 0
    assert "apt install python3-venv" in told.stdout


def test_lab_opens_python_sources_as_notebooks(tmp_path: Path) -> None:
    path = tmp_path / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({PLUGIN: {"autosave": False}, "other": {"kept": 1}}))
    assert install_settings(tmp_path) == path
    assert json.loads(path.read_text()) == {
        PLUGIN: {"autosave": False, "defaultViewers": {"python": VIEWER}},
        "other": {"kept": 1},
    }
    path.write_text("{broken")
    with pytest.raises(ValueError, match=re.escape(str(path))):
        install_settings(tmp_path)


def test_lab_opens_photographs_beside_the_tour_and_keeps_what_a_user_made_of_it(tmp_path: Path):
    folder = install_workspace(tmp_path)
    manager = WorkspacesManager(str(folder))
    found = manager.load(WORKSPACE)
    assert found["metadata"]["id"] == WORKSPACE
    tabs = found["data"]["layout-restorer:data"]["main"]["dock"]["widgets"]
    paths = [found["data"][tab]["data"]["path"] for tab in tabs]
    assert paths == ["notebooks/00_tour.py", "notebooks/10_photographs.py"]
    assert all((Path(__file__).parents[1] / path).is_file() for path in paths)
    found["data"]["layout-restorer:data"]["main"]["current"] = tabs[1]
    manager.save(WORKSPACE, json.dumps(found))
    install_workspace(tmp_path)
    assert manager.load(WORKSPACE)["data"] == found["data"]


def test_lab_and_jupytext_still_know_the_setting() -> None:
    """The names in overrides.json are JupyterLab's and jupytext's: they must exist there."""
    share = Path(sys.prefix) / "share" / "jupyter"
    schema = share / "lab" / "schemas" / "@jupyterlab" / "docmanager-extension" / "plugin.json"
    assert "defaultViewers" in json.loads(schema.read_text())["properties"]
    extension = share / "labextensions" / "jupyterlab-jupytext" / "static"
    assert any(VIEWER in path.read_text() for path in extension.glob("*.js"))


def test_this_environment_has_the_setting() -> None:
    if not (Path(sys.prefix) / ".facenb-installed").exists():
        pytest.skip("this environment was not made by make, where `python -m facenb.lab` sets it")
    path = Path(sys.prefix) / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
    assert json.loads(path.read_text())[PLUGIN]["defaultViewers"]["python"] == VIEWER


def test_every_notebook_has_the_four_parameters_and_a_kernel(repository: Path) -> None:
    for path in find_notebooks(repository / "notebooks"):
        notebook = jupytext.read(path)
        # without a kernel in its header, JupyterLab asks the reader which one to take
        assert notebook.metadata.kernelspec.name == "python3", path.name
        tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
        assert len(tagged) == 1, path.name
        assigned = re.findall(r"^(\w+)\s*=", tagged[0].source, re.MULTILINE)
        assert sorted(assigned) == ["device", "generator", "profile", "seed"], path.name


def test_committed_runs_hold_no_machine_path(repository: Path) -> None:
    private = re.compile(r"/(?:home|root|Users|tmp|work|var)/\w")
    for path in (repository / "figures").rglob("*"):
        if path.suffix in (".ipynb", ".json", ".csv", ".svg"):
            cells = re.sub(r'"image/png": "[^"]*"', "", path.read_text())
            found = private.search(cells)
            assert not found, f"{path.relative_to(repository)}: {cells[found.start() - 40 :][:99]}"


def test_the_ci_script_is_valid_and_runs_the_readmes_command(repository: Path) -> None:
    script = repository / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert script.read_text().rstrip().endswith("make test")


def test_the_code_passes_its_linter(repository: Path) -> None:
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--quiet", "."]
    checked = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.skipif(
    os.environ.get("FACENB_TEST_SETUP") != "1",
    reason="installs everything again (minutes); FACENB_TEST_SETUP=1 runs it, as .ci/run does",
)
def test_a_clean_clone_needs_nothing_but_make(repository: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git = shutil.which("git")
    assert git and (repository / ".git").exists(), "this test clones the repository by git"
    subprocess.run(
        [git, "-c", "safe.directory=*", "clone", "--quiet", str(repository), str(clone)], check=True
    )
    python = f"PYTHON={getattr(sys, '_base_executable', sys.executable)}"
    cache = {"FACENB_CACHE": str(tmp_path / "cache")}  # empty: the outside files are fetched too

    done = make(clone, "figures", python, "PROFILE=smoke", "NOTEBOOK=00", **cache)
    assert done.returncode == 0, done.stdout[-3000:]
    assert list((clone / "build" / "smoke").glob("00_*/00_*.ipynb"))
    left = subprocess.run(
        [git, "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True
    )
    assert left.stdout == "", "a smoke run leaves the tree clean"

    # A folder called facenb, such as the one that a clone lies in, is not taken for the package.
    (above := tmp_path / "above" / "facenb").mkdir(parents=True)
    program = [clone / ".venv" / "bin" / "python", "-c", "import facenb; facenb.load_generator"]
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(program, cwd=above.parent, env=bare, check=True)

    # A failing notebook fails make, and leaves its executed copy.
    bad = '# %% tags=["parameters"]\nprofile = ""\n\n# %%\nraise ValueError("on purpose")\n'
    (clone / "notebooks" / "99_bad.py").write_text(bad)
    failed = make(clone, "figures", python, "PROFILE=smoke", "NOTEBOOK=99", **cache)
    assert failed.returncode != 0
    assert "ValueError: on purpose" in failed.stdout
    assert "Installing" not in failed.stdout, "the environment is made once"
    assert (clone / "build" / "smoke" / "99_bad" / "99_bad.failed.ipynb").exists()
