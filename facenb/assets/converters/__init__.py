"""Which outside nets are converted, from which files, by what: the table behind `load_net`.

The readers of foreign formats are the modules of this package. facenb.assets.converted says what
they have to do; they, and the libraries that they need, are imported when a net is converted.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Conversion:
    """How one net is made from its files.

    Attributes:
        sources: the pinned files, as "package/member", in the order in which `convert` gets them.
        converter: "module:function".
        version: raised whenever the converter's result changes, so that caches follow.
    """

    sources: tuple[str, ...]
    converter: str
    version: int


CONVERSIONS: dict[str, Conversion] = {}
