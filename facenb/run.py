"""Execute the notebooks headlessly: `python -m facenb.run [NUMBER …] --profile laptop`.

Each notebooks/NN_slug.py is converted by jupytext, executed by papermill with the parameters
`profile`, `seed`, `generator` and `device`, and saved as NN_slug/NN_slug.ipynb under figures/, or
under build/smoke/ for the smoke profile. Each notebook names the generator that it is written for;
on another one, by `--generator`, its results go to a folder of that name under build/ or
build/smoke/: figures/ is for what it is written for. It finds that root in FACENB_FIGURES. One that
fails leaves NN_slug.failed.ipynb with its traceback instead, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
import papermill
import torch
from nbformat import NotebookNode
from papermill.exceptions import PapermillException, PapermillExecutionError

from facenb.errors import FacenbError, unknown
from facenb.executed import KERNELSPEC, clean
from facenb.generators import absolute, label
from facenb.presets import PROFILES
from facenb.storage.files import atomic_write

ROOT = Path(__file__).resolve().parents[1]
DEVICES = ("cpu", "cuda", "mps")
_KERNEL = "facenb-run"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Outcome:
    """How one notebook went: its name, wall time in seconds, and None or the end of its error."""

    name: str
    seconds: float
    error: str | None


def find_notebooks(folder: Path, wanted: Sequence[str] = ()) -> list[Path]:
    """The NN_slug.py files of `folder` in order; only the `wanted` numbers (or names) if given.

    Raises UnknownNameError, with the list of notebooks, for a number that none of them has.
    """
    known = {path.stem: path for path in sorted(folder.glob("[0-9][0-9]_*.py"))}
    if not known:
        raise FileNotFoundError(f"no notebook NN_slug.py in {folder}.")
    chosen = set()
    for given in wanted:
        number = f"{int(given):02}_" if given.isdecimal() else given
        matches = [stem for stem in known if stem == given or stem.startswith(number)]
        if len(matches) != 1:
            raise unknown("notebook", given, known)
        chosen.update(matches)
    return [path for stem, path in known.items() if not wanted or stem in chosen]


def check_device(name: str) -> None:
    """Raise UnknownNameError for a device of no known kind, ValueError for an absent one."""
    if name.partition(":")[0] not in DEVICES:
        raise unknown("device", name, DEVICES)
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"device {name!r} cannot be used on this machine: {reason}") from error


def written_for(source: Path) -> str | None:
    """The generator in a notebook's parameter cell, or None where it names none."""
    found = re.search(r'^generator = "(.+)"$', source.read_text(), flags=re.MULTILINE)
    return found[1] if found else None


def output_folder(profile: str, generator: str | None, own: str | None) -> Path:
    """Where a notebook's NN_slug folder goes, relative to the root.

    Args:
        generator: the one that was asked for, or None for the notebook's own.
        own: the one that the notebook is written for.
    """
    if generator in (None, own):
        return Path("build/smoke" if profile == "smoke" else "figures")
    return Path("build/smoke" if profile == "smoke" else "build") / label(generator)


def run_notebook(
    source: Path, figures: Path, parameters: dict[str, str | int], root: Path = ROOT
) -> Outcome:
    """Execute one notebook and save its executed copy in `figures`/NN_slug.

    The copy appears whole at the end, without the machine's paths: those under `root` become
    relative, and a generator's file keeps its name alone. Raises ValueError when the source has no
    cell tagged "parameters".
    """
    name = source.stem
    notebook = _convert(source)
    done = figures / name / f"{name}.ipynb"
    failed = done.with_suffix(".failed.ipynb")
    error = None
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, _own_kernel(Path(folder), figures):
        executed = Path(folder) / "executed.ipynb"
        try:
            papermill.execute_notebook(
                notebook,
                executed,
                parameters,
                kernel_name=_KERNEL,
                cwd=source.parent,
                progress_bar={"desc": name},
            )
        except PapermillExecutionError as problem:
            error = "\n".join(problem.traceback) or f"{problem.ename}: {problem.evalue}"
        except (PapermillException, RuntimeError) as problem:  # a kernel that died or never came
            error = f"{type(problem).__name__}: {problem}"
        if executed.exists():
            notebook = nbformat.read(executed, as_version=4)
    text = nbformat.writes(clean(notebook, root, str(parameters.get("generator", "")))) + "\n"
    atomic_write(failed if error else done, text)
    if error is None:
        failed.unlink(missing_ok=True)
    return Outcome(name, time.perf_counter() - start, error)


def _convert(source: Path) -> NotebookNode:
    notebook = jupytext.read(source)
    if not any("parameters" in cell.metadata.get("tags", ()) for cell in notebook.cells):
        raise ValueError(f'{source}: expected one cell tagged "parameters", found none.')
    for index, cell in enumerate(notebook.cells):
        cell.id = f"cell-{index:03}"  # jupytext's are random, and would differ at every run
    notebook.metadata.kernelspec = dict(KERNELSPEC)
    return notebook


@contextmanager
def _own_kernel(folder: Path, figures: Path) -> Iterator[None]:
    """A kernel of the running interpreter, whatever kernels the user has registered as python3."""
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": KERNELSPEC["display_name"],
        "language": "python",
        "env": {"FACENB_FIGURES": str(figures.absolute()), "PYDEVD_DISABLE_FILE_VALIDATION": "1"},
    }
    atomic_write(folder / "kernels" / _KERNEL / "kernel.json", json.dumps(spec))
    before = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [str(folder), before]))
    try:
        yield
    finally:
        if before is None:
            del os.environ["JUPYTER_PATH"]
        else:
            os.environ["JUPYTER_PATH"] = before


def _report(outcomes: Sequence[Outcome], planned: Sequence[Path]) -> None:
    done = {outcome.name: outcome for outcome in outcomes}
    width = max(len(path.stem) for path in planned)
    print(f"\n{'notebook':{width}}  seconds  result")
    for path in planned:
        outcome = done.get(path.stem)
        seconds = f"{outcome.seconds:.1f}" if outcome else "-"
        result = "not run" if outcome is None else "FAILED" if outcome.error else "ok"
        print(f"{path.stem:{width}}  {seconds:>7}  {result}")
    print(f"{'together':{width}}  {sum(outcome.seconds for outcome in outcomes):7.1f}")


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """The command line; 0 when all went well, 1 when a notebook failed, 2 for a wrong request."""
    parser = argparse.ArgumentParser(
        prog="python -m facenb.run", description="Execute the notebooks and save their figures."
    )
    parser.add_argument("numbers", nargs="*", metavar="NUMBER", help="such as 02; all if none")
    parser.add_argument("--profile", default="laptop", help=", ".join(PROFILES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help=", ".join(DEVICES))
    parser.add_argument(
        "--generator", help="a name, a URL or a file of weights; each notebook's own by default"
    )
    parser.add_argument("--keep-going", action="store_true", help="run the others after a failure")
    options = parser.parse_args(arguments)
    try:
        if options.profile not in PROFILES:
            raise unknown("profile", options.profile, PROFILES)
        check_device(options.device)
        notebooks = find_notebooks(root / "notebooks", options.numbers)
        if options.generator:  # notebooks run in another folder
            options.generator = absolute(options.generator)
    except (FacenbError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    folders = {
        n: output_folder(options.profile, options.generator, written_for(n)) for n in notebooks
    }
    places = sorted({f"{folder.as_posix()}/" for folder in folders.values()})
    print(f"figures and executed notebooks: {', '.join(places)}")
    outcomes: list[Outcome] = []
    for source in notebooks:
        figures = root / folders[source]
        parameters = {"profile": options.profile, "seed": options.seed, "device": options.device}
        if generator := options.generator or written_for(source):
            parameters["generator"] = generator
        try:
            outcomes.append(run_notebook(source, figures, parameters, root))
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        if error := outcomes[-1].error:
            end = "\n".join(_COLOUR.sub("", error).splitlines()[-15:])
            print(f"\n{source.name} failed:\n{end}\n", file=sys.stderr)
            print(f"See {figures / source.stem / source.stem}.failed.ipynb", file=sys.stderr)
            if not options.keep_going:
                break
    _report(outcomes, notebooks)
    return int(any(outcome.error for outcome in outcomes))


if __name__ == "__main__":
    raise SystemExit(main())
