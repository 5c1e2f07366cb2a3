"""What an explorer writes and reads: edits as JSON, and names for files."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from hashlib import sha256
from os import PathLike
from pathlib import Path

from facenb.errors import FacenbError
from facenb.storage.files import atomic_write
from facenb.widgets.explorer import pictures
from facenb.widgets.explorer.engine import Engine
from facenb.widgets.explorer.saved_edit import SavedEdit, check_edit, read_edit
from facenb.widgets.explorer.screen import Screen
from facenb.widgets.explorer.state import EditState

_SWEEP = 16  # images in one direction of a GIF
_LONGEST = 100  # letters in a name: a dozen sliders give more than some file systems take


class EditFiles:
    """What an `Explorer` writes and reads."""

    _engine: Engine
    _screen: Screen
    _folder: Path
    state: EditState

    def save_png(self, path: str | PathLike[str] | None = None) -> Path:
        """Save before and after side by side, with all pixels; returns the path."""
        pair = pictures.side_by_side(self._screen.pair())
        return self._write(path, ".png", pictures.to_png(pair))

    def save_gif(self, path: str | PathLike[str] | None = None, name: str | None = None) -> Path:
        """Save a sweep of `name` (the attribute moved last), low to high and back, 30 frames."""
        name = name or self._screen.strip_of
        there = self._screen.sweep(name, _SWEEP)
        return self._write(path, f"_sweep-{name}.gif", pictures.to_gif(there + there[-2:0:-1]))

    def save_edit(self, path: str | PathLike[str] | None = None) -> Path:
        """Save the edit as JSON: what makes it, and the latent that came out; returns the path."""
        return self._write(path, ".json", edit_to_text(self._engine, self.state))

    def load_edit(self, path: str | PathLike[str]) -> None:
        """Show an edit that `save_edit` wrote; nothing changes when it cannot be shown.

        Raises:
            FacenbError: not an edit, or made with another generator, or of a face that is not here.
            UnknownNameError, SpaceError: with an editor that is not here, or in another space.
            ValueError: with a strength beyond the sliders.

        Warns when the editors here make another latent of it than the editors it was saved with.
        """
        self.load_text(Path(path).read_text(encoding="utf-8", errors="replace"), str(path))

    def load_text(self, text: str, source: str) -> None:
        """`load_edit` for the content of a file; `source` names it in errors."""
        saved = edit_from_text(text, source, self._engine)
        self._change(saved.state)
        if not saved.same_code(self.latents.values):
            warnings.warn(
                f"{source}: the editors here are not those that this edit was saved with, so the "
                "image is not the one that was saved.",
                stacklevel=2,
            )

    def _write(self, path: str | PathLike[str] | None, suffix: str, content: bytes | str) -> Path:
        """Write to `path`, or to a file in the folder that is named after the edit."""
        path = self._folder / file_name(self.state, suffix) if path is None else Path(path)
        atomic_write(path, content)
        return path


def file_name(state: EditState, suffix: str) -> str:
    """A plain and short name for a file of this edit, ending in `suffix`."""
    title = re.sub(r"[^\w.+-]", "-", state.title + suffix)
    if len(title) <= _LONGEST:
        return title
    digest = sha256(title.encode()).hexdigest()[:10]
    return f"{title[:60]}_{digest}{Path(suffix).suffix}"


def edit_to_text(engine: Engine, state: EditState) -> str:
    """The edit as JSON: what makes it, and the latent that comes out."""
    generator, code = engine.generator, engine.edited(state).values[0].tolist()
    start = None
    if state.seed is None:
        start = engine.code(None, state.index).values[0].tolist()
    made_on = (generator.name, generator.fingerprint, engine.space)
    return SavedEdit(state, *made_on, code, start).to_json() + "\n"


def edit_from_text(text: str, source: str, engine: Engine) -> SavedEdit:
    """An edit that can be shown here; its index is that of the latent here that it began with.

    Raises:
        FacenbError: not an edit, or made with another generator, or of a face that is not here.
        UnknownNameError, SpaceError: with an editor that is not here, or in another space.
    """
    generator, saved = engine.generator, read_edit(text, source)
    check_edit(saved, source, generator.name, generator.fingerprint, engine.space, engine.editors)
    own = saved.state.seed is None
    if own != bool(engine.own_codes):
        given = ("a seed", "latents of one's own")[own]
        here = ("seeds", "latents of your own")[bool(engine.own_codes)]
        raise FacenbError(
            f"{source}: this edit was made on {given}, and the faces here are {here}."
        )
    if not own:
        return saved
    places = sorted(range(engine.own_codes), key=lambda index: index != saved.state.index)
    for index in places:
        if saved.same_start(engine.code(None, index).values):
            return replace(saved, state=replace(saved.state, index=index))
    raise FacenbError(
        f"{source}: this edit was made on a latent that is not among your "
        f"{engine.own_codes} latents."
    )
