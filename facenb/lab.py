"""JupyterLab with the tour and the photographs open, as notebooks: `python -m facenb.lab`.

Jupytext can open a percent script as a notebook, but JupyterLab shows text unless a default viewer
says otherwise. The setting is written into the environment that runs this (sys.prefix), never into
the user's own Jupyter settings, so that other environments keep their ways. So is the workspace,
which has these two notebooks open the first time; after that it is as the user left it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from jupyterlab_server.workspaces_handler import WORKSPACE_EXTENSION, slugify

from facenb.storage.files import atomic_write

PLUGIN = "@jupyterlab/docmanager-extension:plugin"
VIEWER = "Jupytext Notebook"
WORKSPACE = "facenb"
OPENED = ("notebooks/00_tour.py", "notebooks/10_photographs.py")


def install_settings(prefix: str | Path = sys.prefix) -> Path:
    """Make notebooks the default view of Python scripts in the environment at `prefix`.

    Other overrides in the same file are kept. Returns the file. Raises ValueError when it holds
    something other than JSON.
    """
    path = Path(prefix) / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
    try:
        overrides = json.loads(path.read_text()) if path.exists() else {}
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: expected JSON, {error}. Mend or remove the file.") from error
    viewers = overrides.setdefault(PLUGIN, {}).setdefault("defaultViewers", {})
    if viewers.get("python") != VIEWER:
        viewers["python"] = VIEWER
        atomic_write(path, json.dumps(overrides, indent=2) + "\n")
    return path


def install_workspace(prefix: str | Path = sys.prefix) -> Path:
    """A workspace with `OPENED` in it, unless there is one; returns the folder of workspaces."""
    folder = Path(prefix) / "share" / "jupyter" / "lab" / "facenb-workspaces"
    path = folder / f"{slugify(WORKSPACE)}{WORKSPACE_EXTENSION}"
    tabs = [f"notebook:{source}" for source in OPENED]
    dock = {"type": "tab-area", "currentIndex": 0, "widgets": tabs}
    data: dict[str, object] = {
        tab: {"data": {"path": source, "factory": VIEWER}}
        for tab, source in zip(tabs, OPENED, strict=True)
    }
    data["layout-restorer:data"] = {"main": {"dock": dock, "current": tabs[0]}}
    data["file-browser-filebrowser:cwd"] = {"path": str(Path(OPENED[0]).parent)}
    if not path.exists():
        space = {"data": data, "metadata": {"id": WORKSPACE}}
        atomic_write(path, json.dumps(space, indent=2) + "\n")
    return folder


def main(arguments: Sequence[str] | None = None) -> None:
    """Set the default viewer, then run JupyterLab with `arguments` (from the command line)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        install_settings()
        folder = install_workspace()
        options = [f"--LabApp.workspaces_dir={folder}"]
        options += [f"--LabApp.default_url=/lab/workspaces/{WORKSPACE}"]
    except OSError as error:
        options = ["--LabApp.default_url=/lab/tree/notebooks"]
        print(
            f"warning: this environment cannot be written to ({error}). Open a notebook by a right "
            "click on its .py file, Open With, Notebook.",
            file=sys.stderr,
        )
    # This environment's python3 kernel, also where the user has registered another one.
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    from jupyterlab.labapp import LabApp

    LabApp.launch_instance(options + given)


if __name__ == "__main__":
    main()
