"""A collection, as the client that waits returns it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fc7._operations import collection, new_items
from fc7._operations.new_items import Payload
from fc7._session import Session
from fc7.errors import Fc7Error
from fc7.features import Features
from fc7.images import ImageLike
from fc7.results import Added, CollectionFacts, Hit, Item, Removed


@dataclass(repr=False, eq=False)
class Collection(CollectionFacts):
    """A named set of items of one provenance.

    ``count`` is as of the last answer about it: after `add` and `remove` it is right, and `refresh` asks for what
    others did. ``len(collection)`` asks the server. ``id in collection`` looks for one item, and iterating yields all
    of them, page by page.
    """

    _session: Session

    def __len__(self) -> int:
        self.refresh()
        return self.count

    def __bool__(self) -> bool:
        return True  # also where it is empty: and no question to the server

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self._session.run(collection.contains(self, id))

    def __iter__(self) -> Iterator[Item]:
        return self.items()

    def refresh(self, *, timeout_s: float | None = None) -> None:
        """Ask the server for the facts of this collection as they are now.

        Raises
        ------
        NotFound
            It was deleted.
        """
        vars(self).update(vars(self._session.run(collection.get(self.name), timeout_s)))

    def add(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        ids: Iterable[str] | None = None,
        root: Path | str | None = None,
        payloads: Iterable[Payload] | None = None,
        replace: bool = False,
        timeout_s: float | None = None,
        report: Callable[[Added], object] | None = None,
    ) -> list[Added]:
        """Add images; of an id that is there, take the new bytes and keep what the payload says.

        An id that is there with other bytes from another path is refused: the image fails, and nothing is erased.

        Parameters
        ----------
        images
            As `Client.extract` takes them; files are read when their turn comes.
        ids
            One an image. By default the path below ``root`` with "/", without ``root`` the file's name.
        root
            Folder that the ids are relative to.
        payloads
            One JSON object per image, at most 64 KiB. By default {"path": ABSOLUTE PATH} for paths, otherwise {}.
            Its keys are set in the stored payload, whose other keys stay.
        replace
            Put each image in place of whatever has its id, from any path, and its payload in place of the stored one:
            the way to remove a key.
        report
            Called for each image as soon as the server has answered: what it says is added or
            replaced is on disk.

        Returns
        -------
        list of Added
            One an image, in input order; a failed one has its error, and nothing was written for it.

        Raises
        ------
        InvalidArgument
            An image without path and id, or lists of different lengths.
        """
        new = new_items.from_images(images, ids, root, payloads)
        return self._session.run(collection.upsert(self, new, True, replace, report), timeout_s)

    def add_vectors(
        self,
        features: Features,
        ids: Iterable[str],
        *,
        payloads: Iterable[Payload] | None = None,
        replace: bool = False,
        timeout_s: float | None = None,
        report: Callable[[Added], object] | None = None,
    ) -> list[Added]:
        """Add features that were extracted before, one id per row; they must be of this provenance.

        Payloads and ``replace`` are as in `add`.
        """
        new = new_items.from_features(features, ids, payloads)
        return self._session.run(collection.upsert(self, new, False, replace, report), timeout_s)

    def search(
        self,
        image: ImageLike | None = None,
        *,
        id: str | None = None,
        features: Features | None = None,
        k: int = 10,
        timeout_s: float | None = None,
    ) -> list[Hit]:
        """Return the nearest items, best first.

        Parameters
        ----------
        image
            The query; or
        id
            that of a stored item, which is left out of its own answer; or
        features
            one row: ``features[i]``.
        k
            At least 1; above the count, all items are returned.

        Raises
        ------
        NotFound
            No such item or file.
        FailedPrecondition
            The features are of another provenance.
        """
        return self._session.run(collection.search(self.name, image, id, features, k), timeout_s)

    def search_many(
        self,
        images: ImageLike | Iterable[ImageLike] | None = None,
        *,
        ids: Iterable[str] | None = None,
        features: Features | None = None,
        k: int = 10,
        timeout_s: float | None = None,
    ) -> list[list[Hit] | Fc7Error]:
        """Return the nearest items of each image, stored item or row of features, in input order.

        A query that fails is answered by its error.
        """
        operation = collection.search_many(self.name, images, ids, features, k)
        return self._session.run(operation, timeout_s)

    def get(
        self, ids: Iterable[str], *, with_features: bool = False, timeout_s: float | None = None
    ) -> list[Item | Fc7Error]:
        """Return the items of these ids, or why they are not there, in the order given."""
        return self._session.run(collection.get_items(self, ids, with_features), timeout_s)

    def items(self, *, with_features: bool = False, timeout_s: float | None = None) -> Iterator[Item]:
        """Yield all items in the order of their first insertion, fetched page by page."""
        return self._session.iterate(collection.list_items(self, with_features), timeout_s)

    def remove(self, ids: Iterable[str], *, timeout_s: float | None = None) -> list[Removed]:
        """Delete items; one that was not there has its error."""
        return self._session.run(collection.delete_items(self, ids), timeout_s)
