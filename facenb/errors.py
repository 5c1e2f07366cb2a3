"""Errors that say what was given, what was expected and what to do."""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor


class FacenbError(Exception):
    """Base of every error that facenb raises on its own account."""


class AssetError(FacenbError):
    """An outside file is missing, cannot be fetched, or is not the file that was pinned."""


class SpaceError(FacenbError, ValueError):
    """Latents of one space were used where another space is needed."""


class UnknownNameError(FacenbError, KeyError):
    """A name that is not on the list; the message carries the list."""

    def __str__(self) -> str:  # KeyError would print the repr of its argument
        return str(self.args[0])


def unknown(kind: str, given: object, known: Iterable[str]) -> UnknownNameError:
    """The error for a name that is not known: it names the nearest and lists them all."""
    known = list(known)
    near = difflib.get_close_matches(str(given), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UnknownNameError(f"unknown {kind} {given!r}.{hint} Known: {', '.join(known)}.")


def plain_streams() -> None:
    """Let the standard streams replace what their encoding lacks, where a console has not UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def printable(text: str, longest: int) -> str:
    """`text` from a file or a user as a message can carry it: printable, cut in the middle."""
    text = "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]} … {text[-(longest // 2) :]}"


def names_of(given: object, what: str) -> tuple[str, ...]:
    """One name or several, as a tuple: a string is one, never its letters.

    Raises TypeError for anything that is not names.
    """
    if isinstance(given, str):
        return (given,)
    if not isinstance(given, Iterable) or isinstance(given, Tensor | np.ndarray | bytes):
        raise TypeError(f"{what}: expected a name or names, given {type(given).__name__}.")
    names = tuple(given)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{what}: expected names, given {name!r:.80} among them.")
    return names


def floats_of(given: object, what: str) -> Tensor:
    """A tensor or a NumPy array of floating numbers as a tensor; an array is copied to float32.

    Raises TypeError that says what was given: lists and whole numbers are none.
    """
    if isinstance(given, np.ndarray) and given.dtype.kind == "f":
        return torch.tensor(given, dtype=torch.float32)
    if isinstance(given, Tensor) and given.is_floating_point():
        return given
    kind = "NumPy array of " if isinstance(given, np.ndarray) else ""
    raise TypeError(
        f"{what}: expected a tensor or NumPy array of floating numbers, given "
        f"{kind}{getattr(given, 'dtype', type(given).__name__)}."
    )


def check_finite(tensor: Tensor, what: str) -> None:
    """Raise ValueError when `tensor` holds a NaN or an infinity."""
    bad = ~torch.isfinite(tensor)
    if bad.any():
        first = tuple(int(i) for i in bad.nonzero()[0])
        raise ValueError(
            f"{what}: expected finite numbers, given {int(bad.sum())} NaN or infinite of "
            f"{tensor.numel()}, the first at index {first}."
        )


def check_images(images: Tensor) -> None:
    """Raise unless `images` is a floating (N, 3, H, W) batch with N ≥ 1 and no NaN, in [−1, 1].

    Warns where no value is below 0.
    """
    if not isinstance(images, Tensor):
        raise TypeError(f"images: expected a torch.Tensor, given {type(images).__name__}.")
    shape = tuple(images.shape)
    if images.ndim != 4 or shape[1] != 3:
        raise ValueError(f"images: expected shape (N, 3, H, W), given {shape}.")
    if shape[0] == 0:
        raise ValueError(f"images: expected at least one image, given an empty batch {shape}.")
    if not images.is_floating_point():
        raise TypeError(f"images: expected floats in [-1, 1], given {images.dtype}.")
    check_finite(images, "images")
    low, high = images.detach().aminmax()
    if low < -1.01 or high > 1.01:
        raise ValueError(
            f"images: expected values in [-1, 1], given [{float(low):.3g}, {float(high):.3g}]. "
            "Divide 8-bit images by 127.5 and subtract 1."
        )
    if 0 <= low < high:
        warnings.warn(
            f"images: expected values in [-1, 1], given none below 0 ([{float(low):.3g}, "
            f"{float(high):.3g}]), as images in [0, 1] have. These are scored as pale ones: use "
            "2 * images - 1.",
            stacklevel=3,
        )
