"""Calls in which a head or a model answers: for images, and for the items of a collection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from fc7._operations import head as heads
from fc7._operations import head_items, head_labels, head_trials
from fc7._session import Session
from fc7.filters import Where
from fc7.head_trials import ItemSample
from fc7.images import ImageLike
from fc7.results import Classification, ClassifiedItem, Suggestion
from fc7.searches import Hit


class ClassificationCalls:
    """Calls in which a head or a model answers: for images, and for the items of a collection."""

    _session: Session

    def classify(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        head: str = "",
        head_version: int = 0,
        model: str = "",
        ensemble: Sequence[str] = (),
        views: int = 1,
        top: int = 5,
        refuse_unknown: bool = False,
        coverage: float | None = None,
        also: Sequence[str] = (),
        timeout_s: float | None = None,
        report: Callable[[int], object] | None = None,
    ) -> list[Classification]:
        """Return the most probable classes of each image, in input order.

        Parameters
        ----------
        images
            See `extract`. An unreadable image has an `error` in its result and does not end the call.
        head
            A published head. Defaults to the model's own classes.
        head_version
            Version of the head, published or not; 0 for the published one.
        model
            Name of the model, if no head is given. Defaults to the server's default model.
        ensemble
            Names of two or more models with the same classes, instead of a head or a model. Their probabilities are
            averaged.
        views
            1, or 10: the mean of the probabilities over the corners and the centre, and their mirror images.
        top
            How many classes to return per image.
        refuse_unknown
            Refuse pictures of none of the head's classes, even if it was not published so: `Classification.label` is
            None, and `Classification.reason` is "unknown".
        coverage
            Also return in `Classification.set` the classes that hold the right one with this probability, such as
            0.9 (conformal prediction). Takes a head.
        also
            Further heads that answer too, as NAME (its published version) or NAME/VERSION, at most 16. Heads that take
            the same features share one pass of the network. See `Classification.also`.
        report
            Called with the number of images done, after each batch.

        Raises
        ------
        InvalidArgument
            ``views`` is neither 1 nor 10, or the ensemble has one model, repeats a model, has models with different
            classes, or stands beside ``head`` or ``model``.
        NotFound
            There is no such head or model.
        FailedPrecondition
            No version of the head is published, or no model of the server makes its features.

        Examples
        --------
        >>> result = client.classify("a.jpg", top=2)[0]
        >>> len(result.top), result.label == result.top[0][0]
        (2, True)
        """
        operation = heads.classify(
            images, head, model, ensemble, views, top, report, head_version, refuse_unknown, coverage, also
        )
        return self._session.run(operation, timeout_s)

    def classify_items(
        self,
        collection: str,
        *,
        head: str,
        head_version: int = 0,
        where: Where | None = None,
        write: str | None = None,
        refuse_unknown: bool = False,
        timeout_s: float | None = None,
        report: Callable[[int], object] | None = None,
    ) -> list[ClassifiedItem]:
        """Classify the items of a collection from their stored features. No picture is decoded.

        Parameters
        ----------
        collection
            Name of the collection. Its features must be those that the head takes.
        head
            Name of the head.
        head_version
            Version of the head, published or not; 0 for the published one.
        where
            Take only items whose payload matches this filter. Defaults to all.
        write
            Field of the payloads that gets the class, or None for a refused item. ``FIELD_probability`` gets the
            probability, and ``FIELD_head`` the head and its version. Nothing is written by default. A value in the
            field that no head wrote stays as it is, and its item has an `error`.
        refuse_unknown
            Refuse items of none of the head's classes, even if it was not published so.
        report
            Called with the number of items done, after each block.

        Returns
        -------
        list of ClassifiedItem
            In the order in which the items were first added.

        Raises
        ------
        NotFound
            There is no such collection or head.
        FailedPrecondition
            The features of the collection are not those that the head takes.
        """
        operation = head_items.classify(collection, head, head_version, where, write, refuse_unknown, report)
        return self._session.run(operation, timeout_s)

    def rank_items(
        self,
        collection: str,
        label: str,
        *,
        head: str,
        head_version: int = 0,
        k: int = 10,
        near_score: float | None = None,
        where: Where | None = None,
        timeout_s: float | None = None,
    ) -> list[Hit]:
        """Return the items of a collection that are most probably of a class, best first.

        Parameters
        ----------
        collection
            Name of the collection. Its features must be those that the head takes.
        label
            The class.
        head
            Name of the head.
        head_version
            Version of the head, published or not; 0 for the published one.
        k
            Number of items, 1 to 10,000.
        near_score
            Return the items whose probability is nearest to this one instead. 0.5 looks at the boundary of the class.
        where
            Rank only items whose payload matches this filter. Defaults to all.

        Returns
        -------
        list of Hit
            `Hit.score` is the probability of the class.

        Raises
        ------
        NotFound
            There is no such collection, head or class.
        FailedPrecondition
            The features of the collection are not those that the head takes.
        """
        operation = head_items.rank(collection, label, head, head_version, k, near_score, where)
        return self._session.run(operation, timeout_s)

    def suggest_items(
        self,
        collection: str,
        *,
        head: str,
        head_version: int = 0,
        n: int = 20,
        strategy: str = "auto",
        label: str = "label",
        where: Where | None = None,
        timeout_s: float | None = None,
    ) -> list[Suggestion]:
        """Return which items of a collection to label next, most useful first.

        A tenth of them is drawn at random, so that an unbiased test set grows too. No two are almost the same picture.

        Parameters
        ----------
        collection
            Name of the collection.
        head
            Name of the head. It need not exist yet.
        head_version
            Version of the head, published or not; 0 for the newest.
        n
            Number of items, 1 to 1000.
        strategy
            "margin": the two best classes are close. "typical": the middle of large groups without a label. "diverse":
            far from all that is labelled. "auto": typical until there are ten labels per class on average, then margin.
        label
            Field of the payloads that holds the label. Items with a label there, or with a positive label record, are
            labelled.
        where
            Suggest only among items whose payload matches this filter. Defaults to all.

        Raises
        ------
        NotFound
            There is no such collection; or no such head, and the strategy is "margin".
        """
        operation = head_items.suggest(collection, head, head_version, n, strategy, label, where)
        return self._session.run(operation, timeout_s)

    def label_items(
        self,
        collection: str,
        *,
        head: str,
        above: float,
        head_version: int = 0,
        where: Where | None = None,
        dry_run: bool = False,
        timeout_s: float | None = None,
        report: Callable[[int], object] | None = None,
    ) -> list[ClassifiedItem]:
        """Write label records by a head about the items of a collection that it is sure of.

        Items about which a person has said something are left out, and so are those that the head refuses.

        Parameters
        ----------
        collection
            Name of the collection. Its features must be those that the head takes.
        head
            Name of the head. The records bear it and the version.
        above
            Least probability, 0 to 1, such as 0.95.
        head_version
            Version of the head, published or not; 0 for the published one.
        where
            Only items whose payload matches this filter. Defaults to all.
        dry_run
            Write nothing.
        report
            Called with the number of items classified, after each block.

        Returns
        -------
        list of ClassifiedItem
            The items with a record, in the order in which they were first added. With ``dry_run``, those that would get
            one. An item that was deleted in the meantime has an `error`.

        Raises
        ------
        NotFound
            There is no such collection or head.
        FailedPrecondition
            The features of the collection are not those that the head takes, or no version is published.
        """
        operation = head_labels.label_items(collection, head, head_version, above, where, dry_run, report)
        return self._session.run(operation, timeout_s)

    def sample_items(
        self,
        collection: str,
        label: str,
        *,
        head: str,
        head_version: int = 0,
        n: int = 100,
        where: Where | None = None,
        timeout_s: float | None = None,
    ) -> ItemSample:
        """Draw items for a person to check, from which the number of items of a class can be estimated.

        More are drawn where the head is unsure. The same items are drawn while the collection and the head stay the
        same. `ItemSample.estimate` takes the answers.

        Parameters
        ----------
        collection
            Name of the collection. Its features must be those that the head takes.
        label
            The class.
        head
            Name of the head.
        head_version
            Version of the head, published or not; 0 for the published one.
        n
            Number of items to draw, 10 to 10,000.
        where
            Draw only from the items whose payload matches this filter. Defaults to all.

        Raises
        ------
        NotFound
            There is no such collection, head or class.
        FailedPrecondition
            The features of the collection are not those that the head takes.
        """
        operation = head_trials.sample_items(collection, label, head, head_version, n, where)
        return self._session.run(operation, timeout_s)
