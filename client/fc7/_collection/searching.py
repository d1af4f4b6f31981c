"""The methods of a collection that compare its items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from fc7._collection.part import CollectionPart
from fc7._operations import collection, duplicates
from fc7._operations import search as searching
from fc7.errors import Fc7Error
from fc7.features import Features
from fc7.filters import Where
from fc7.images import ImageLike
from fc7.results import (
    DuplicateGroup,
    Recall,
)
from fc7.searches import Example, Hits, Search, Threshold


class SearchCalls(CollectionPart):
    """Finds the nearest items, and those that are nearly the same."""

    def search(
        self,
        image: ImageLike | None = None,
        *,
        id: str | None = None,
        features: Features | None = None,
        examples: Sequence[Example] | None = None,
        k: int | None = None,
        where: Where | None = None,
        search: Search | None = None,
        timeout_s: float | None = None,
    ) -> Hits:
        """Return the nearest items, nearest first.

        Give one of ``image``, ``id``, ``features`` and ``examples``.

        Parameters
        ----------
        image
            Query image. See `Client.extract`.
        id
            Id of a stored item, which is left out of its own result.
        features
            Features of one row: ``features[i]``.
        examples
            Several `Example`, to look for or to keep away from. Items are ranked by their similarity to each example,
            times its weight, summed up. Similarity is the metric; for "l2" it is minus the squared distance.
        k
            How many items to return, at least 1. Defaults to 10.
        where
            Search only among the items that match this filter, such as ``fc7.F("year") >= 2020`` or the text
            ``"year >= 2020"``. As many as ``k`` of them are returned. Defaults to all items.
        search
            Everything else that a search can ask for. It holds ``k`` and ``where`` too.

        Returns
        -------
        Hits
            A list of `Hit`, with a `SearchReport` that says how the search was done.

        Raises
        ------
        InvalidArgument
            A value breaks a rule, more than one query is given, or the filter cannot be read.
        NotFound
            There is no such item or file.
        FailedPrecondition
            The features were made with another model, layer or preprocessing.

        Examples
        --------
        >>> [hit.id for hit in photos.search("a.jpg", k=1)]
        ['a.jpg']
        >>> likes = [fc7.Example("a.jpg"), fc7.Example(id="rose1.jpg", weight=-0.5)]
        >>> photos.search(examples=likes, search=fc7.Search(k=1, min_score=0.5))[0].id
        'a.jpg'
        """
        queries, asked = searching.Queries(image, id, features, examples), searching.options(k, where, search)
        return self._session.run(searching.search(self.name, queries, asked), timeout_s)

    def search_many(
        self,
        images: ImageLike | Iterable[ImageLike] | None = None,
        *,
        ids: Iterable[str] | None = None,
        features: Features | None = None,
        examples: Iterable[Sequence[Example]] | None = None,
        k: int | None = None,
        where: Where | None = None,
        search: Search | None = None,
        timeout_s: float | None = None,
    ) -> list[Hits | Fc7Error]:
        """Return the nearest items of many queries, in input order.

        Give one of ``images``, ``ids``, ``features`` and ``examples``.

        Parameters
        ----------
        images
            Query images.
        ids
            Ids of stored items. Each is left out of its own result.
        features
            Features, one query per row.
        examples
            Per query a list of `Example`. See `search`.
        k
            How many items to return per query, at least 1. Defaults to 10.
        where, search
            See `search`.

        Returns
        -------
        list
            Per query its `Hits`, or the error of a query that failed.
        """
        queries, asked = searching.Queries(images, ids, features, examples), searching.options(k, where, search)
        return self._session.run(searching.search_many(self.name, queries, asked), timeout_s)

    def tune(self, recall: float, *, timeout_s: float | None = None) -> Recall:
        """Let the index search just as hard as a recall needs, measured on stored items.

        The recall stays the target of the collection: when that of recent queries is too low, the server raises the
        effort.

        Parameters
        ----------
        recall
            Share of the ten nearest items that the index is to find, 0.5 to 0.999.

        Returns
        -------
        Recall
            What was measured with the new effort. Its ``queries`` is 0 if the index compares every vector.

        Raises
        ------
        InvalidArgument
            ``recall`` is out of range.
        """
        return self._session.run(collection.tune(self.name, recall), timeout_s)

    def threshold(self, false_matches: float, *, timeout_s: float | None = None) -> Threshold:
        """Return the lowest score that random pairs of items reach no more often than this.

        Parameters
        ----------
        false_matches
            Share of random pairs that may reach the score, above 0 and at most 1.

        Returns
        -------
        Threshold
            The score, for ``Search(min_score=...)``, and how many pairs were compared.

        Raises
        ------
        InvalidArgument
            ``false_matches`` is lower than so many pairs can tell, or not a share.
        FailedPrecondition
            The collection has fewer than two items, or so many duplicates that no score is rare enough.
        """
        return self._session.run(searching.threshold(self.name, false_matches), timeout_s)

    def duplicates(
        self,
        *,
        min_score: float | None = None,
        max_rarity: float | None = None,
        where: Where | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[DuplicateGroup]:
        """Yield groups of items that are the same or nearly so. Within a group, every pair is near enough.

        An item is in one group at most. To compare one new picture with all items, call `search` with ``min_score``.

        Parameters
        ----------
        min_score
            The least score of a pair. Defaults to 0.97, which fits the metric cosine.
        max_rarity
            Instead of a score: its rarity, the share of random pairs of the collection that are at least as near.
        where
            Compare only the items that match this filter. See `search`.

        Raises
        ------
        InvalidArgument
            No pair, or every pair, reaches the score.
        FailedPrecondition
            The metric is "dot".

        Examples
        --------
        >>> [group.ids for group in photos.duplicates(min_score=0.999)]
        []
        """
        return self._session.iterate(duplicates.find(self.name, min_score, max_rarity, where), timeout_s)
