"""The table of properties: everything that `zmm prove` can decide, in the order in which it does."""

from __future__ import annotations

from .catalogue_code import MACHINE
from .catalogue_core import IR
from .catalogue_model import CONTRACTS, COUNTED, FORMS, SEARCHES
from .property import Property

# What takes longest to be of use stands last.
PROPERTIES: tuple[Property, ...] = (*CONTRACTS, *SEARCHES, *FORMS, *COUNTED, *IR, *MACHINE)


def find(name: str) -> Property:
    """
    The property of a name.

    Raises:
        KeyError: there is none.
    """
    return {one.name: one for one in PROPERTIES}[name]
