"""The sliders: in groups that open and close, with a search, and made when they are first seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from html import escape

import ipywidgets as widgets
from ipywidgets.widgets.widget_bool import CheckboxStyle
from ipywidgets.widgets.widget_int import SliderStyle

from facenb.scorers import Attribute
from facenb.widgets.explorer.charts import MINUS
from facenb.widgets.explorer.groups import readable, title
from facenb.widgets.explorer.state import EditState
from facenb.widgets.live import classed, close_widgets

_OPEN = 12  # sliders that are seen at first, whole groups of them
_FEW = 8  # sliders that need neither groups nor a search
LOADED = "loaded"

Moved = Callable[[str, float], None]
Held = Callable[[str, bool], None]


class _Section:
    """A group: its button, and its sliders with a tick each."""

    def __init__(self, names: Sequence[str], opened: bool) -> None:
        self.names, self.opened = list(names), opened
        self.button = classed(widgets.Button(), "fx-group")
        self.rows = classed(widgets.GridBox(), "fx-rows")


class SliderPanel:
    """A slider for each editor, and a tick to hold it fixed where it has a direction.

    Args:
        groups: group → names of editors.
        holdable: those that get a tick.
        about: name → the attribute that it is named after, where there is one: for titles, tooltips
            and the search.
        reach: sliders go from −reach to +reach.

    Attributes:
        root: the widget to display.
        search: filters by name.
    """

    def __init__(
        self,
        groups: Mapping[str, Sequence[str]],
        holdable: Collection[str],
        about: Mapping[str, Attribute],
        reach: float,
    ) -> None:
        self._about, self._reach, self._step = dict(about), reach, step_for(reach)
        self._holdable = set(holdable)
        self._moved: Moved = lambda name, value: None
        self._held: Held = lambda name, value: None
        self._state, self._enabled = EditState(), True
        self._sections: dict[str, _Section] = {}
        self._sliders: dict[str, widgets.FloatSlider] = {}
        self._ticks: dict[str, widgets.Checkbox] = {}
        # one layout and one style for all: two widgets less for each slider
        self._looks = {"layout": widgets.Layout(), "style": SliderStyle()}
        self._tick_looks = {"layout": widgets.Layout(), "style": CheckboxStyle()}
        self.search = classed(widgets.Text(continuous_update=True), "fx-search")
        self.search.observe(lambda _: self._lay_out(), "value")
        self._head, self._list = widgets.HTML(), classed(widgets.VBox(), "fx-list")
        self.root = classed(widgets.VBox([self.search, self._head, self._list]), "fx-sliders")
        self.add(groups, holdable)

    @property
    def names(self) -> list[str]:
        """All editors, whether their sliders are on screen or not."""
        return [name for section in self._sections.values() for name in section.names]

    def add(self, groups: Mapping[str, Sequence[str]], holdable: Collection[str]) -> None:
        """More editors; a new group is open as long as not many sliders are on screen."""
        self._holdable = set(holdable)
        for group, names in groups.items():
            if group in self._sections:
                self._sections[group].names.extend(names)
                self._sections[group].opened = True
                continue
            seen = sum(len(s.names) for s in self._sections.values() if s.opened)
            opened = not seen or seen + len(names) <= _OPEN or group == LOADED
            self._sections[group] = section = _Section(names, opened)
            section.button.on_click(lambda _, group=group: self._toggle(group))
        self._lay_out()

    def connect(self, moved: Moved, held: Held) -> None:
        """Call `moved(name, strength)` and `held(name, whether)` when the user does so."""
        self._moved, self._held = moved, held

    def slider(self, name: str) -> widgets.FloatSlider:
        """The slider of an editor, made if nobody has seen it yet."""
        if name not in self._sliders:
            slider = widgets.FloatSlider(
                value=self._state.strengths.get(name, 0.0),
                description=self._title(name),
                tooltip=", ".join(filter(None, [self._title(name), self._ends(name)])),
                min=-self._reach,
                max=self._reach,
                step=self._step,
                readout_format=".1f" if self._step >= 0.1 else ".2f",
                disabled=not self._enabled,
                **self._looks,
            )
            self._sliders[name] = slider
            self._mark(name)
            slider.observe(lambda change: self._moved(name, _snapped(change.new)), "value")
        return self._sliders[name]

    def tick(self, name: str) -> widgets.Checkbox:
        """The tick that holds an editor fixed; KeyError for one that has no direction."""
        if name not in self._holdable:
            raise KeyError(name)
        if name not in self._ticks:
            tick = widgets.Checkbox(
                value=name in self._state.held,
                indent=False,
                tooltip=f"Hold {self._title(name)} fixed: the other edits leave it alone",
                disabled=not self._enabled,
                **self._tick_looks,
            )
            self._ticks[name] = tick
            tick.observe(lambda change: self._held(name, change.new), "value")
        return self._ticks[name]

    def show_state(self, state: EditState) -> None:
        """Put every slider and tick where `state` says."""
        self._state = state
        for name, slider in self._sliders.items():
            slider.value = state.strengths.get(name, 0.0)
            self._mark(name)
        for name, tick in self._ticks.items():
            tick.value = name in state.held
        self._head_up()

    def enable(self, enabled: bool) -> None:
        """Let the sliders be used, or not."""
        self._enabled = enabled
        for control in (self.search, *self._sliders.values(), *self._ticks.values()):
            control.disabled = not enabled

    def close(self) -> None:
        """Close the widgets, those that are not on screen as well."""
        parts = [*self._sliders.values(), *self._ticks.values()]
        parts += [w for s in self._sections.values() for w in (s.button, s.rows)]
        close_widgets(self.root, *parts)

    def _mark(self, name: str) -> None:
        slider = self._sliders[name]
        (slider.add_class if slider.value else slider.remove_class)("fx-moved")

    def _toggle(self, group: str) -> None:
        self._sections[group].opened ^= True
        self._lay_out()

    def _lay_out(self) -> None:
        """Show what is open, or what the search finds."""
        words, shown = self.search.value.lower().split(), []
        several = (len(self._sections) > 1 and len(self.names) > _FEW) or LOADED in self._sections
        for section in self._sections.values():
            found = [name for name in section.names if self._matches(name, words)]
            visible = found if words or section.opened or not several else []
            cells = []
            for name in visible:
                held = self.tick(name) if name in self._holdable else None
                cells += [self.slider(name), held or self._blank()]
            if tuple(cells) != section.rows.children:
                section.rows.children = cells
            shown += [section.button] if several and (found or not words) else []
            shown += [section.rows] if visible else []
        self._list.children = shown
        self.search.layout.display = None if len(self.names) > _FEW else "none"
        self.search.placeholder = f"Search {len(self.names)} edits"
        self._head_up()

    def _blank(self) -> widgets.Box:
        """In place of a tick; one widget can stand in several places."""
        if not hasattr(self, "_empty"):
            self._empty = widgets.Box(layout=self._tick_looks["layout"])
        return self._empty

    def _matches(self, name: str, words: Sequence[str]) -> bool:
        text = f"{self._title(name)} {self._ends(name)}".lower()
        return all(word in text for word in words)

    def _title(self, name: str) -> str:
        """As `title` has it, but what is added to an attribute's name stays: "Smile (line)"."""
        about = self._about.get(name)
        return readable(name) if about is None or about.name != name else title(about)

    def _ends(self, name: str) -> str:
        """In words, what the slider goes from and to."""
        about = self._about.get(name)
        return "" if about is None else f"{MINUS} {about.low}, + {about.high}"

    def _head_up(self) -> None:
        """The headings: what is moved and held in each group, seen or not."""
        for group, section in self._sections.items():
            moved = sum(name in self._state.strengths for name in section.names)
            held = sum(name in self._state.held for name in section.names)
            counts = [f"{n} {what}" for n, what in ((moved, "moved"), (held, "held")) if n]
            opened = section.opened or bool(self.search.value.strip())
            section.button.icon = "caret-down" if opened else "caret-right"
            section.button.description = "  ·  ".join([readable(group), *counts])
        nothing = not self._list.children and bool(self.search.value.strip())
        reach = f"{MINUS}{self._reach:g} … +{self._reach:g}"
        head = f"Edit <small>{'nothing of that name' if nothing else reach}</small>"
        if self._holdable:
            fixed = [readable(n) for n in self.names if n in self._state.held]
            names = escape(", ".join(fixed))
            head += f'<small class="fx-held" title="{names}">{names and f"{names} fixed"}</small>'
            head += '<small class="fx-hold">Hold</small>'
        self._head.value = f'<div class="fx-heading">{head}</div>'


def step_for(reach: float) -> float:
    """A plain number (1, 2 or 5 times a power of ten) that is a 30th of `reach`, or less.

    The browser counts in steps from −reach, and must come by 0.
    """
    power = 10.0 ** math.floor(math.log10(reach / 30 * (1 + 1e-9)))
    return max(m * power for m in (1, 2, 5) if m * power <= reach / 30 * (1 + 1e-9))


def _snapped(strength: float) -> float:
    """0 for what the browser's arithmetic makes of 0."""
    return 0.0 if abs(strength) < 1e-9 else strength
