"""An executed notebook as others are to see it: without this machine and this moment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from nbformat import NotebookNode

KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
_TEXTS = ("text", "evalue", "traceback", "text/plain", "text/html", "text/markdown")
_MOMENT = (
    "input_path", "output_path", "start_time", "end_time", "duration", "environment_variables",
)  # fmt: skip
_BAR = re.compile(r"\d+%\|.*\| \d+/\d+ \[|^\d+\w* \[\d+:\d+,")  # of tqdm
_WIDGET = "application/vnd.jupyter.widget-view+json"


def clean(notebook: NotebookNode, root: Path, generator: str = "") -> NotebookNode:
    """Strip what belongs to this machine and this moment, so that a second run changes nothing.

    Of a `generator` that is an absolute path its folder goes, wherever it is written.
    """
    folders = [root]
    if Path(generator).is_absolute():
        folders.insert(0, Path(generator).parent)
    notebook.metadata.kernelspec = dict(KERNELSPEC)
    notebook.metadata.pop("widgets", None)  # a dead copy would hide the image that stands for it
    run = notebook.metadata.get("papermill", {})
    for key in _MOMENT:
        run.pop(key, None)
    if "generator" in run.get("parameters", {}):
        run.parameters.generator = _without_paths(run.parameters.generator, folders)
    for index, cell in enumerate(notebook.cells):
        cell.id = f"cell-{index:02}"  # jupytext's are random, since the source has none
        cell.metadata.pop("papermill", None)
        if "injected-parameters" in cell.metadata.get("tags", ()):
            cell.source = _without_paths(cell.source, folders)
        if cell.cell_type == "markdown":  # places as seen from the copy's folder, figures/NN_slug
            cell.source = cell.source.replace("](../figures/", "](../")
            cell.source = cell.source.replace("](../docs/", "](../../docs/")
        if "outputs" in cell:  # how far a bar came depends on what was in the cache
            cell.outputs = [output for output in cell.outputs if not _is_progress(output)]
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop(_WIDGET, None)
            for holder in (output, output.get("data", {})):
                for key, value in holder.items():
                    if key in _TEXTS:
                        holder[key] = _without_paths(value, folders)
    return notebook


def _is_progress(output: NotebookNode) -> bool:
    shown = output.get("data", {}).get("text/plain", output.get("text", ""))
    text = "".join(shown) if isinstance(shown, list) else shown
    lines = [line for line in re.split(r"[\r\n]", text) if line.strip()]
    return bool(lines) and all(_BAR.search(line) for line in lines)


def _without_paths(text: str | list[str], folders: Sequence[Path]) -> str | list[str]:
    if isinstance(text, list):
        return [_without_paths(line, folders) for line in text]
    text = re.sub(r"/[^\s\"':]*/ipykernel_\d+/\d+\.py", "<cell>", text)
    for folder, instead in (*((folder, "") for folder in folders), (_home(), "~/")):
        if folder is not None and len(folder.parts) > 1:  # "/" is nobody's folder
            text = text.replace(f"{folder}/", instead)
    return text


def _home() -> Path | None:
    """The user's folder; None where there is none, as in some containers."""
    try:
        return Path.home()
    except RuntimeError:
        return None
