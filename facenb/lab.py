"""JupyterLab with the notebooks' .py sources opening as notebooks: `python -m facenb.lab`.

Jupytext can open a percent script as a notebook, but JupyterLab shows text unless a default viewer
says otherwise. The setting is written into the environment that runs this (sys.prefix), never into
the user's own Jupyter settings, so that other environments keep their ways.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from facenb.storage.files import atomic_write

PLUGIN = "@jupyterlab/docmanager-extension:plugin"
VIEWER = "Jupytext Notebook"


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Set the default viewer, then run JupyterLab with `arguments` (from the command line)."""
    try:
        install_settings()
    except OSError as error:
        print(
            f"warning: this environment cannot be written to ({error}). Open a notebook by a right "
            "click on its .py file, Open With, Notebook.",
            file=sys.stderr,
        )
    # This environment's python3 kernel, also where the user has registered another one.
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    from jupyterlab.labapp import LabApp

    LabApp.launch_instance(list(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    main()
