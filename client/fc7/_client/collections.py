"""Calls that create, find and delete collections."""

from __future__ import annotations

from fc7._operations import collection
from fc7._session import Session
from fc7.collection import Collection
from fc7.results import CollectionFacts, Metric


class CollectionCalls:
    """Calls that create, find and delete collections."""

    _session: Session

    def create_collection(
        self,
        name: str,
        *,
        layer: str = "",
        model: str = "",
        metric: Metric = "cosine",
        recall: float | None = None,
        timeout_s: float | None = None,
    ) -> Collection:
        """Create an empty collection for the features of one layer of one model.

        Parameters
        ----------
        name
            1 to 64 letters, digits, ".", "_" or "-", not starting with ".".
        layer, model
            Layer and model that its images go through. They default to the model's default layer and the server's
            default model.
        metric
            "cosine", "l2" (the score is minus the distance) or "dot".
        recall
            Recall that its index is to reach once the collection is large, 0.5 to 0.999. See `Collection.tune`.

        Raises
        ------
        AlreadyExists
            The name is taken.
        NotFound
            There is no such model or layer.

        Examples
        --------
        >>> client.create_collection("holiday")
        Collection('holiday', 0 items, cosine)
        """
        return self._collection(self._session.run(collection.create(name, layer, model, metric, recall), timeout_s))

    def collection(self, name: str, *, check: bool = True, timeout_s: float | None = None) -> Collection:
        """Return a collection.

        Parameters
        ----------
        name
            Name of the collection.
        check
            Ask the server whether it exists. If False, no request is sent: the collection's other attributes are
            empty until `Collection.refresh`, and its first method fails if it does not exist.

        Raises
        ------
        NotFound
            There is no such collection.

        Examples
        --------
        >>> client.collection("album").metric
        'cosine'
        """
        facts = self._session.run(collection.get(name), timeout_s) if check else collection.unknown(name)
        return self._collection(facts)

    def collections(self, *, timeout_s: float | None = None) -> list[Collection]:
        """Return all collections, sorted by name."""
        return [self._collection(facts) for facts in self._session.run(collection.list_all(), timeout_s)]

    def delete_collection(self, name: str, *, timeout_s: float | None = None) -> None:
        """Delete a collection and all its items.

        Raises
        ------
        NotFound
            There is no such collection.
        """
        self._session.run(collection.delete(name), timeout_s)

    def _collection(self, facts: CollectionFacts) -> Collection:
        return Collection(**vars(facts), _session=self._session)
