"""What to use when: docs/which_method.md, every sentence from the numbers of notebook 11.

python -m scripts.which_method          # writes it from figures/11_all_methods/numbers.json
python -m scripts.which_method --check  # exit status 1 where it is not what these numbers give
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from facenb.metrics.compare_table import FEWEST
from facenb.storage.files import atomic_write

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "which_method.md"
NUMBERS = ROOT / "figures" / "11_all_methods" / "numbers.json"
WORDS = {"smile": "a smile", "age": "age", "gender": "gender", "glasses": "glasses",
         "beard": "a beard", "yaw": "the pose (yaw)", "fringe": "a fringe"}  # fmt: skip
PLANNED = 200


def advice(numbers: Mapping[str, dict]) -> str:
    """The page."""
    faces = numbers["faces"]
    lines = [
        "# Which method for what",
        "",
        "Written by `python -m scripts.which_method` from the numbers of notebook 11; a test holds",
        "them together. All methods edit the same faces as far as the same side effects allow: the",
        "mean other score changes by 0.4 standard deviations on the calibration faces (by how much",
        "on the test faces: T1_methods). *Success* is the fraction of the",
        f"{faces} test faces whose target is on its other side then. The table that a sentence",
        "is from stands in brackets (a file in `figures/11_all_methods/`).",
        *_scope(numbers),
        "",
        "## By target",
        "",
        *(f"- {_target(target, numbers)}" for target in numbers["best"]),
        "",
        "## By need",
        "",
        *(f"- {sentence}" for sentence in _needs(numbers)),
        "",
        "## What does not work here",
        "",
        *(f"- {sentence}" for sentence in _failures(numbers)),
    ]
    return "\n".join(lines) + "\n"


def _scope(numbers: Mapping[str, dict]) -> list[str]:
    absent = [word for target, word in WORDS.items() if target not in numbers["best"]]
    few = (
        f"These are {numbers['faces']} faces, not 200: the intervals are wide."
        if (numbers["faces"] < PLANNED)
        else ""
    )
    missing = f"Not measured yet: {_list(absent)}." if absent else ""
    text = " ".join(part for part in (few, missing) if part)
    return ["", f"**{text}** `python -m scripts.compare_methods` goes on."] if text else []


def _target(target: str, numbers: Mapping[str, dict]) -> str:
    best = numbers["best"][target]
    if not best:
        return f"For {WORDS[target]} no method was drawn (T2_cells)."
    first = best[0]
    text = f"For **{WORDS[target]}** use {first}: success {_success(first, target, numbers)}"
    same = numbers["identity"][first].get(target)
    text += f", of these {_percent(same)} the same person" if same is not None else ""
    text += " (T2_cells)."
    if numbers["faces"] < FEWEST:
        text += " The faces are too few for a ranking."
    elif best[1:]:
        text += f" Not significantly worse: {'; '.join(best[1:])}."
    else:
        text += " All others are significantly worse."
    kept = numbers["best, with the same person"][target]
    if kept and first not in kept:  # significantly less often
        text += (
            f" The target turned over *and* the same person: most often {kept[0]}, "
            f"{_percent(numbers['both'][kept[0]][target])} of the faces against "
            f"{_percent(numbers['both'][first][target])} (T2_cells)."
        )
    second = numbers.get("success, independent", {}).get(first, {}).get(target)
    if second is None:
        return f"{text} There is no second scorer of it."
    return f"{text} By the independent scorers its success is {second:.2f} (numbers.json)."


def _needs(numbers: Mapping[str, dict]) -> list[str]:
    success, both, costs = numbers["success"], numbers["both"], numbers["costs"]
    iterative = numbers["iterative"]
    ranked = [m for m in _by_mean(success, numbers) if m not in iterative]
    keeps = [m for m in _by_mean(both, numbers) if m in ranked]
    none = [m for m in ranked if costs[m]["labels"] == "0"]
    if not ranked:
        return ["No method was drawn towards every target (T1_methods)."]
    first = ranked[0]
    found = [
        f"For all targets at once: {first}, mean success {success[first]['mean']:.2f}; next "
        f"{ranked[1]}, {success[ranked[1]]['mean']:.2f} (T1_methods)."
    ]
    if keeps:
        found.append(
            f"To keep the person as well: {keeps[0]}, target and person on "
            f"{_percent(both[keeps[0]]['mean'])} of the faces; {first} on "
            f"{_percent(both[first]['mean'])} (T1_methods)."
        )
    if none:
        found.append(
            f"Without labels to learn from: {none[0]}, mean success "
            f"{success[none[0]]['mean']:.2f}; {first} has {success[first]['mean']:.2f} from "
            f"{costs[first]['labels']} scored samples (T1_methods)."
        )
    quick = {m: float(costs[m]["ms per edit"]) for m in success if costs[m]["ms per edit"] != "—"}
    slow = [m for m in iterative if m in quick]
    least, most = min(quick, key=quick.get), max(quick, key=quick.get)
    found.append(
        f"For sliders: an edit takes {_time(quick[least])} with {least} and {_time(quick[most])} "
        f"with {most} (T1_methods)."
    )
    for method in slow:
        found.append(
            f"To reach a given score rather than to move a slider: {method}, which stops when the "
            f"score is there; success {success[method]['mean']:.2f} at side effects of "
            f"{numbers['side effects'][method]['mean']:.2f} standard deviations, "
            f"{_time(quick[method])} an edit, on {iterative[method]} faces (T1_methods)."
        )
    return found


def _failures(numbers: Mapping[str, dict]) -> list[str]:
    without_success: dict[str, list[str]] = {}
    for method, reasons in numbers["reasons"].items():
        for target, why in reasons.items():
            if why.startswith("turns over"):
                without_success.setdefault(target, []).append(method)
    found = [
        f"For {WORDS[target]} these turn next to no calibration face over: {'; '.join(methods)} "
        "(T2_cells)."
        for target, methods in without_success.items()
    ]
    counts = numbers.get("significant differences of success, by the independent scorers", {})
    if counts:
        total = sum(counts.values())
        found.append(
            f"Not every difference that the suite sees is one: of {total} significant differences "
            f"between two methods the independent scorers confirm {counts.get('same', 0)}, find "
            f"{counts.get('not significant', 0)} not significant and reverse "
            f"{counts.get('reversed', 0)} (T6_sides)."
        )
    return found


def _by_mean(values: Mapping[str, Mapping[str, float]], numbers: Mapping[str, dict]) -> list[str]:
    """By their mean, the methods that have the measure for every target."""
    whole = {"mean", *numbers["best"]}
    known = {m: row["mean"] for m, row in values.items() if whole <= set(row)}
    return sorted(known, key=lambda m: -known[m])


def _success(method: str, target: str, numbers: Mapping[str, dict]) -> str:
    interval = numbers["intervals of success"].get(method, {}).get(target)
    if interval is None:
        return f"{numbers['success'][method][target]:.2f}"
    return "{estimate:.2f} ({low:.2f} to {high:.2f})".format(**interval)


def _time(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.1f} s" if milliseconds >= 100 else f"{milliseconds:.2g} ms"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    options = parser.parse_args()
    page = advice(json.loads(NUMBERS.read_text())["numbers"])
    if options.check:
        fresh = PAGE.is_file() and PAGE.read_text() == page
        raise SystemExit(0 if fresh else "which_method: run python -m scripts.which_method")
    atomic_write(PAGE, page)


if __name__ == "__main__":
    main()
