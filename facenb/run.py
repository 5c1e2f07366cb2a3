"""Execute the notebooks headlessly: `python -m facenb.run [NUMBER …] --profile laptop`.

Each notebooks/NN_slug.py is converted by jupytext, executed by papermill with the parameters
`profile`, `seed`, `generator` and `device`, and saved as NN_slug/NN_slug.ipynb under figures/, or
under build/PROFILE/ for another profile than laptop. Each notebook names the generator that it is
written for; on another one, by `--generator`, its results go to a folder of that name under build/
or build/PROFILE/: figures/ is for what it is written for. It finds that root in FACENB_FIGURES, and
by the same rule where JupyterLab runs it. One that
fails leaves NN_slug.failed.ipynb with its traceback instead, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
import papermill
import torch
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbformat import NotebookNode
from papermill.exceptions import PapermillException, PapermillExecutionError

from facenb.errors import FacenbError, plain_streams, unknown
from facenb.executed import KERNELSPEC, clean
from facenb.figures import output_folder, written_for
from facenb.generators import absolute
from facenb.presets import PROFILES, load_profile
from facenb.storage.files import atomic_write

ROOT = Path(__file__).resolve().parents[1]
DEVICES = ("cpu", "cuda", "mps")


@dataclass(frozen=True)
class Outcome:
    """How one notebook went: its name, wall time in seconds, and None or its error."""

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


def run_notebook(
    source: Path, figures: Path, parameters: dict[str, str | int], root: Path = ROOT
) -> Outcome:
    """Execute one notebook and save its executed copy in `figures`/NN_slug.

    The copy appears whole at the end, without the machine's paths: those under `root` become
    relative, and a generator's file keeps its name alone. Raises ValueError when the source has no
    cell tagged "parameters".
    """
    notebook, name, error = _convert(source), source.stem, None
    done = figures / name / f"{name}.ipynb"
    failed = done.with_suffix(".failed.ipynb")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        executed = Path(folder) / "executed.ipynb"
        try:
            papermill.execute_notebook(
                notebook,
                executed,
                parameters,
                kernel_name=KERNELSPEC["name"],
                kernel_manager_class=_kernel_manager(figures),
                record_timing=False,
                cwd=source.parent,
                progress_bar={"desc": name},
            )
        except PapermillExecutionError as problem:
            error = str(problem)
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


def _kernel_manager(figures: Path) -> type[AsyncKernelManager]:
    """Starts the running interpreter, whatever kernels the user has registered as python3."""
    environment = {
        "FACENB_FIGURES": str(figures.absolute()),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }

    class ThisInterpreter(AsyncKernelManager):
        kernel_spec = KernelSpec(**get_kernel_dict(), env=environment)

    return ThisInterpreter


def _report(outcomes: Sequence[Outcome], planned: Sequence[Path]) -> None:
    width = max(len(path.stem) for path in planned)
    print(f"\n{'notebook':{width}}  seconds  result")
    for outcome in outcomes:
        result = "FAILED" if outcome.error else "ok"
        print(f"{outcome.name:{width}}  {outcome.seconds:7.1f}  {result}")
    for path in planned[len(outcomes) :]:
        print(f"{path.stem:{width}}        -  not run")
    print(f"{'together':{width}}  {sum(outcome.seconds for outcome in outcomes):7.1f}")


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """The command line; 0 when all went well, 1 when a notebook failed, 2 for a wrong request."""
    plain_streams()
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
        load_profile(options.profile)
        check_device(options.device)
        notebooks = find_notebooks(root / "notebooks", options.numbers)
        if options.generator:  # notebooks run in another folder
            options.generator = absolute(options.generator)
    except (FacenbError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    own = [written_for(source) for source in notebooks]
    folders = [output_folder(options.profile, options.generator, name) for name in own]
    places = sorted({f"{folder.as_posix()}/" for folder in folders})
    print(f"figures and executed notebooks: {', '.join(places)}")
    outcomes: list[Outcome] = []
    for source, folder, name in zip(notebooks, folders, own, strict=True):
        parameters = {"profile": options.profile, "seed": options.seed, "device": options.device}
        if generator := options.generator or name:
            parameters["generator"] = generator
        try:
            outcomes.append(run_notebook(source, root / folder, parameters, root))
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        if error := outcomes[-1].error:
            end = "\n".join(error.splitlines()[-15:])
            failed = root / folder / source.stem / f"{source.stem}.failed.ipynb"
            print(f"\n{source.name} failed:\n{end}\n\nSee {failed}", file=sys.stderr)
            if not options.keep_going:
                break
    _report(outcomes, notebooks)
    return int(any(outcome.error for outcome in outcomes))


if __name__ == "__main__":
    raise SystemExit(main())
