"""The methods of a collection that hold what people say about its items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from fc7._collection.part import CollectionPart
from fc7._operations import labels as label_records
from fc7.errors import Fc7Error
from fc7.results import (
    Label,
    Labelled,
)


class LabelCalls(CollectionPart):
    """Records labels, returns them and takes them back."""

    def add_labels(
        self,
        labels: Iterable[Label],
        *,
        timeout_s: float | None = None,
        report: Callable[[Labelled], object] | None = None,
    ) -> list[Labelled]:
        """Record what somebody says about items.

        Parameters
        ----------
        labels
            The labels. A label is not recorded again if its author's newest record about this item and label says the
            same.
        report
            Called for each label as soon as the server has answered. What is reported is on disk.

        Returns
        -------
        list of Labelled
            One result per label, in input order. An id that is not stored has a `NotFound` error.

        Examples
        --------
        >>> labels = [fc7.Label("a.jpg", "cat", by="ann"), fc7.Label("a.jpg", "dog", "negative", by="ann")]
        >>> [one.status for one in photos.add_labels(labels)]
        ['labelled', 'labelled']
        """
        return self._session.run(label_records.add(self.name, labels, report), timeout_s)

    def labels(
        self,
        ids: Iterable[str] | None = None,
        *,
        label: str = "",
        by: str = "",
        timeout_s: float | None = None,
    ) -> Iterator[Label]:
        """Yield label records, oldest first. They are fetched page by page.

        A record stays until its item is deleted. For one item and label, the newest record holds.

        Parameters
        ----------
        ids
            Only records about these items, up to 500 of them at a time. Defaults to all.
        label
            Only records of this label. Defaults to all.
        by
            Only records by this person or head. Defaults to all.
        """
        return self._session.iterate(label_records.list_all(self.name, ids, label, by), timeout_s)

    def undo_labels(
        self, ids: Iterable[str], *, label: str = "", by: str = "", timeout_s: float | None = None
    ) -> list[Label | Fc7Error]:
        """Take back the newest label record of each item, so that the one before it holds again.

        Parameters
        ----------
        ids
            Ids of the items.
        label
            Only a record of this label. Defaults to any.
        by
            Only a record by this person or head. Defaults to any.

        Returns
        -------
        list of Label or Fc7Error
            The record that is gone, or a `NotFound` error if there is none.
        """
        return self._session.run(label_records.undo(self.name, ids, label, by), timeout_s)
