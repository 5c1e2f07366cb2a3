"""What is known of attributes by name: their titles and groups, for the sliders and the chart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from facenb.scorers import ATTRIBUTES, Attribute

OTHER = "other"
_CLOSE = 0.25  # standard deviations: less does not make rows change places under the eye


def readable(name: str) -> str:
    """ "mouth_open" → "Mouth open"."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def title(attribute: Attribute) -> str:
    """What to call an attribute on screen: "Mouth open", "AU12 lip corner puller"."""
    return " ".join(filter(None, [readable(attribute.name), attribute.description]))


def group_of(attribute: Attribute) -> str:
    """The group of an attribute, such as "expression"."""
    return attribute.group or OTHER


def described(names: Iterable[str], attributes: Sequence[Attribute]) -> dict[str, Attribute]:
    """Editor → the attribute that it is named after, of `attributes` or of any that facenb scores.

    "smile (line)" is named after "smile"; editors with other names are left out.
    """
    known = {a.name: a for a in (*chain.from_iterable(ATTRIBUTES.values()), *attributes)}
    found = {name: known.get(name) or known.get(name.partition(" (")[0]) for name in names}
    return {name: attribute for name, attribute in found.items() if attribute}


def grouped(names: Iterable[str], about: Mapping[str, Attribute]) -> dict[str, list[str]]:
    """The names of editors by group, in the order in which facenb lists the groups; those that are
    named after no attribute come last.
    """
    every = chain(chain.from_iterable(ATTRIBUTES.values()), about.values())
    groups: dict[str, list[str]] = {group_of(attribute): [] for attribute in every}
    last = groups.pop(OTHER, [])
    for name in names:
        groups.get(group_of(about[name]) if name in about else OTHER, last).append(name)
    return {group: names for group, names in (*groups.items(), (OTHER, last)) if names}


def changed_most(changes: Mapping[str, float], before: Iterable[str], count: int) -> list[str]:
    """The `count` names of largest |change|; those that were among them `before` have precedence
    where it is close.
    """
    before = set(before)
    key = {name: abs(change) + _CLOSE * (name in before) for name, change in changes.items()}
    chosen = set(sorted(key, key=key.get, reverse=True)[:count])
    return [name for name in changes if name in chosen]
