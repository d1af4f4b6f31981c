"""A collection of the client that waits for its answers."""

from __future__ import annotations

from collections.abc import Iterator

from fc7._collection.labelling import LabelCalls
from fc7._collection.reading import ReadingCalls
from fc7._collection.searching import SearchCalls
from fc7._collection.writing import WritingCalls
from fc7._operations import collection
from fc7.results import Item


class Collection(WritingCalls, ReadingCalls, SearchCalls, LabelCalls):
    """A named set of items whose features were made in the same way.

    ``len(collection)`` asks the server for the number of items, ``id in collection`` looks for one item, and
    iterating yields all items, page by page.

    Attributes
    ----------
    name : str
        Name of the collection.
    count : int
        Number of items. It is right after `add` and `remove`; `refresh` asks what others have changed.
    provenance : Provenance
        What made its features.
    metric : {"cosine", "l2", "dot"}
        How features are compared.
    dim : int
        Length of a feature.
    index : str
        "exact" or "rabitq".
    fault : str
        Why the collection was set aside; empty if it works.
    damaged : int
        Number of items that the server found damaged, as of the last answer. Searches and lists leave them out, and
        adding such an item again repairs it.
    damaged_ids : list of str
        Their ids, as far as they can be read, at most 1000.
    versions : dict
        Versions of the libraries behind the newest items.
    """

    def __len__(self) -> int:
        self.refresh()
        return self.count

    def __bool__(self) -> bool:
        return True  # even if it is empty, and without asking the server

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self._session.run(collection.contains(self, id))

    def __iter__(self) -> Iterator[Item]:
        return self.items()

    def refresh(self, *, find_damage: bool = False, timeout_s: float | None = None) -> None:
        """Ask the server for the attributes of this collection.

        Parameters
        ----------
        find_damage
            Let the server read all items first, so that ``damaged_ids`` names all that are damaged.

        Raises
        ------
        NotFound
            The collection was deleted.
        """
        vars(self).update(vars(self._session.run(collection.get(self.name, find_damage), timeout_s)))
