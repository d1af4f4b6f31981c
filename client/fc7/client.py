"""The client that waits for its answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType

from fc7._operations import admin, collection, feature, head_items, model
from fc7._operations import head as heads
from fc7._operations import head_export as head_exports
from fc7._operations import head_report as head_reports
from fc7._operations.feature import OnError, OnStreamError
from fc7._session import Session
from fc7.collection import Collection
from fc7.explain import Explain
from fc7.feature_stream import FeatureStream
from fc7.features import Features
from fc7.filters import Where
from fc7.head_report import HeadReport
from fc7.images import ImageLike
from fc7.results import (
    Classification,
    ClassifiedItem,
    CollectionFacts,
    Golden,
    Head,
    Metric,
    Model,
    ReloadedModel,
    ServerInfo,
    Suggestion,
)
from fc7.searches import Hit


class Client:
    """A connection to a server. `connect` returns it; it is a context manager.

    - Threads may share a client. gRPC does not survive `os.fork`: connect in the child process, or start workers
      with "spawn".
    - Long lists are sent in batches.
    - A call is repeated within its time if the server cannot be reached or its queue is full. Create, delete,
      publish and train are never repeated.
    - Ctrl-C cancels the call of the main thread.
    - Every method takes ``timeout_s``: seconds for the whole call, with all its requests and pauses. None takes the
      client's default. When the time is up, the method raises `DeadlineExceeded`.
    - Errors of the server are raised as subclasses of `Fc7Error`.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Stop the server if it was started here."""
        self._session.close()

    def extract(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        layer: str = "",
        model: str = "",
        ensemble: Sequence[str] = (),
        views: int = 1,
        on_error: OnError = "raise",
        timeout_s: float | None = None,
        report: Callable[[int], object] | None = None,
    ) -> Features:
        """Return one feature per image, in input order.

        Parameters
        ----------
        images
            One image or an iterable of images. An image is a path, a URL (http, https), the bytes of a file, a file
            opened with "rb", a Pillow image, or a uint8 array: (H, W, 3) in RGB or (H, W) in grey. An array of
            paths or of images (N, H, W, 3) is a list of images.
        layer
            Name of the layer. Defaults to the model's default layer.
        model
            Name of the model. Defaults to the server's default model.
        ensemble
            Names of two or more models, instead of ``model``. Their features are scaled to length 1 and joined.
        views
            1, or 10: the mean over the corners and the centre of each image, and their mirror images.
        on_error
            "raise": an unreadable image ends the call. "skip": it is listed in `Features.failed` and has no row.
        timeout_s
            Seconds for the whole call. Defaults to the client's ``timeout_s``.
        report
            Called with the number of images done, after each batch.

        Returns
        -------
        Features
            `values` float32 (N, D), as the layer gives them: "fc6" and "fc7" are after the ReLU and not normalised.
            The default layer of the models that fc7 comes with, "conv5_pooled", is whitened; it has negative values.

        Raises
        ------
        ImageDecodeError
            An image cannot be decoded. `index` says which one.
        InvalidArgument
            ``views`` is neither 1 nor 10, or the ensemble has one model, repeats a model or stands beside ``model``.
        NotFound
            There is no such model, layer or file.
        DeadlineExceeded
            The call did not finish within ``timeout_s``.

        References
        ----------
        Krizhevsky et al. 2012, sections 3.5 and 6.1 (4096-d last hidden layer as image distance).

        Examples
        --------
        >>> features = client.extract(["a.jpg", "b.jpg"])
        >>> len(features), features.values.dtype
        (2, dtype('float32'))
        """
        return self._session.run(feature.extract(images, layer, model, ensemble, views, on_error, report), timeout_s)

    def extract_stream(
        self,
        images: Iterable[ImageLike],
        *,
        layer: str = "",
        model: str = "",
        ensemble: Sequence[str] = (),
        views: int = 1,
        on_error: OnStreamError = "yield",
        timeout_s: float | None = None,
    ) -> FeatureStream:
        """Yield one feature float32 (D,) or error per image, in input order. The iterable may be endless.

        The images are read in another thread, a few ahead of the answers.

        Parameters
        ----------
        images, layer, model, ensemble, views
            See `extract`.
        on_error
            "yield": the error takes the place of the image's feature. "raise": it ends the stream. "skip": the image
            is left out, and the features no longer line up with the images.
        timeout_s
            Seconds for the whole stream. Defaults to the client's ``timeout_s``.

        Returns
        -------
        FeatureStream
            An iterator with `provenance` and `close()`.

        Examples
        --------
        >>> for feature in client.extract_stream(["a.jpg", "b.jpg"]):
        ...     print(feature.ndim)
        1
        1
        """
        facts = feature.StreamFacts()
        operation = feature.extract_stream(images, layer, model, ensemble, views, on_error, facts)
        return FeatureStream(self._session.iterate(operation, timeout_s), facts)

    def models(self, *, timeout_s: float | None = None) -> list[Model]:
        """Return the server's models, the default one first. Their classes and cards are left out; see `model`."""
        return self._session.run(model.list_models(), timeout_s)

    def model(self, name: str = "", *, timeout_s: float | None = None) -> Model:
        """Return one model with its classes and its card.

        Parameters
        ----------
        name
            Name of the model. Defaults to the server's default model.

        Raises
        ------
        NotFound
            There is no such model.
        """
        return self._session.run(model.get_model(name), timeout_s)

    def golden(self, name: str = "", *, timeout_s: float | None = None) -> Golden:
        """Return a model's reference pictures, and their features as computed where the model was exported.

        Parameters
        ----------
        name
            Name of the model. Defaults to the server's default model.

        Raises
        ------
        NotFound
            There is no such model.
        """
        return self._session.run(model.get_golden(name), timeout_s)

    def load_model(
        self, bundle: str | os.PathLike[str], *, default: bool = False, timeout_s: float | None = None
    ) -> Model:
        """Have the server serve one more model, until it ends.

        The server first checks the golden vectors of the model. A model that is served already is not loaded again.

        Parameters
        ----------
        bundle
            Name of a shipped bundle, or path of a bundle on the server's machine. A relative `Path` is made absolute;
            text is sent as it is.
        default
            Make the model the default one, and the one that its plain name means. ``bundle`` may then also be the name
            of a served model. Otherwise a model whose name is taken is served as NAME:VERSION.

        Raises
        ------
        NotFound
            There is no such bundle on the server's machine.
        DataLoss
            The bundle is damaged, or its network does not compute its golden values.

        Examples
        --------
        >>> client.load_model("zfnet-64").version
        1
        """
        return self._session.run(model.load(bundle, default), timeout_s)

    def reload_model(
        self,
        name: str = "",
        bundle: str | os.PathLike[str] = "",
        *,
        keep_old: bool = False,
        timeout_s: float | None = None,
    ) -> ReloadedModel:
        """Have the server replace a model by a newer version of it, while calls go on.

        The server first checks the golden vectors of the new version. If they do not match, the old one stays. Calls
        that began before finish with the old version.

        Parameters
        ----------
        name
            Name of the model. Defaults to the server's default model.
        bundle
            Bundle with the new version, as in `load_model`. Defaults to the one that the model came from.
        keep_old
            Keep serving the old version, as NAME:VERSION.

        Raises
        ------
        NotFound
            There is no such model or bundle.
        FailedPrecondition
            The bundle holds a model with another name.
        DataLoss
            The bundle is damaged, or its network does not compute its golden values.
        """
        return self._session.run(model.reload(name, bundle, keep_old), timeout_s)

    def unload_model(self, name: str, *, timeout_s: float | None = None) -> int:
        """Have the server stop serving a model and give its memory back.

        Parameters
        ----------
        name
            NAME or NAME:VERSION. If the server has other versions, the plain name then means the next one.

        Returns
        -------
        int
            Number of calls that still use the model. Its memory is given back when they have ended.

        Raises
        ------
        NotFound
            There is no such model.
        FailedPrecondition
            It is the default model.
        """
        return self._session.run(model.unload(name), timeout_s)

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

    def train_head(
        self,
        name: str,
        *,
        collection: str | None = None,
        label: str | None = "label",
        group: str | None = None,
        images: ImageLike | Iterable[ImageLike] | None = None,
        features: Features | None = None,
        labels: Iterable[str] | None = None,
        ids: Iterable[str] | None = None,
        groups: Iterable[str] | None = None,
        source: str = "",
        layer: str = "",
        model: str = "",
        timeout_s: float | None = None,
        report: Callable[[int], object] | None = None,
    ) -> Head:
        """Train the next version of a head: a classifier for your own classes.

        Give either ``collection``, or ``images`` with ``labels``, or ``features`` with ``labels``.

        Parameters
        ----------
        name
            1 to 64 letters, digits, ".", "_" or "-", not starting with ".".
        collection
            Collection whose features are used.
        label
            Field of the payloads that holds the label. None takes the label records of the collection instead: the
            last positive label of an item counts.
        group
            Field of the payloads whose equal values keep items on one side of every split.
        images
            Images to train on. Unreadable ones are left out and listed in `Head.failed`.
        features
            Features to train on. A model of the server must have made them, each from one view.
        labels
            One label per image or row.
        ids
            What to call each image or row in reports. Defaults to the paths of images, and to the numbers of rows.
        groups
            Group of each image or row: those of one group stay on one side of every split, as copies do. An empty text
            stands for no group.
        source
            Where the data comes from, for the record, such as a folder. Defaults to the collection.
        layer, model
            Layer and model that the images go through. They default to the model's default layer and the server's
            default model.
        report
            Called with the number of images extracted, after each batch.

        Returns
        -------
        Head
            The new version, which is not yet published.

        Raises
        ------
        InvalidArgument
            There are fewer than two classes, or not as many labels as images.

        References
        ----------
        Zeiler & Fergus 2013, section 5.2: only the softmax layer is trained.

        Examples
        --------
        >>> paths = ["rose1.jpg", "rose2.jpg", "tulip1.jpg", "tulip2.jpg"]
        >>> client.train_head("flowers", images=paths, labels=["rose", "rose", "tulip", "tulip"]).classes
        ['rose', 'tulip']
        """
        plan = heads.plan(name, collection, label, layer, model, features, source, group)
        return self._session.run(heads.train(plan, images, features, labels, report, ids, groups), timeout_s)

    def publish_head(
        self, name: str, version: int = 0, *, refuse_unknown: bool = False, timeout_s: float | None = None
    ) -> Head:
        """Make a version the one that `classify` uses.

        Parameters
        ----------
        name
            Name of the head.
        version
            Version to publish; 0 for the newest. To go back, publish an older version.
        refuse_unknown
            Let it refuse pictures of none of its classes. `Head.unknown` says what that costs.

        Raises
        ------
        NotFound
            There is no such head or version.
        FailedPrecondition
            The version cannot tell such pictures: it has two classes, or is older than release 0.3.
        """
        return self._session.run(heads.publish(name, version, refuse_unknown), timeout_s)

    def head(self, name: str, version: int = 0, *, timeout_s: float | None = None) -> Head:
        """Return one version of a head.

        Parameters
        ----------
        name
            Name of the head.
        version
            Version; 0 for the newest.

        Raises
        ------
        NotFound
            There is no such head or version.
        """
        return self._session.run(heads.get(name, version), timeout_s)

    def head_report(self, name: str, version: int = 0, *, timeout_s: float | None = None) -> HeadReport:
        """Return what is known about a version: how good it is, and its answer for every training picture.

        Each answer comes from a head that was fitted without that picture.

        Parameters
        ----------
        name
            Name of the head.
        version
            Version; 0 for the newest.

        Raises
        ------
        NotFound
            There is no such head or version.
        FailedPrecondition
            The version was trained before release 0.3. Train it again.

        Examples
        --------
        >>> paths = ["rose1.jpg", "rose2.jpg", "tulip1.jpg", "tulip2.jpg"]
        >>> head = client.train_head("flowers", images=paths, labels=["rose", "rose", "tulip", "tulip"])
        >>> report = client.head_report("flowers")
        >>> len(report.rows), report.measures.count
        (4, 4)
        """
        return self._session.run(head_reports.get(name, version), timeout_s)

    def export_head(
        self, name: str, folder: str | os.PathLike[str], *, version: int = 0, timeout_s: float | None = None
    ) -> Head:
        """Write a head and its network to a folder that classifies without fc7.

        The folder has ``model.onnx`` (network and head in one file), ``recipe.json``, ``labels.json``, reference
        pictures with their probabilities, and ``run.py``, which needs onnxruntime, NumPy and Pillow alone.

        Parameters
        ----------
        name
            Name of the head.
        folder
            New folder.
        version
            Version; 0 for the newest.

        Raises
        ------
        AlreadyExists
            The folder exists.
        NotFound
            There is no such head or version.
        FailedPrecondition
            No model of the server makes the features of the head.
        """
        return self._session.run(head_exports.export(name, Path(folder), version), timeout_s)

    def heads(self, *, all_versions: bool = False, timeout_s: float | None = None) -> list[Head]:
        """Return the newest version of every head, sorted by name; or all versions, oldest first."""
        return self._session.run(heads.list_all(all_versions), timeout_s)

    def delete_head(
        self,
        name: str,
        version: int | None = None,
        *,
        all_versions: bool = False,
        timeout_s: float | None = None,
    ) -> None:
        """Delete one version of a head, or the whole head.

        Parameters
        ----------
        name
            Name of the head.
        version
            Version to delete. It must not be published.
        all_versions
            Delete the whole head, published or not.

        Raises
        ------
        NotFound
            There is no such head or version.
        FailedPrecondition
            The version is published.
        """
        self._session.run(heads.delete(name, version, all_versions), timeout_s)

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
        return self._session.run(
            heads.classify(images, head, model, ensemble, views, top, report, head_version, refuse_unknown, coverage),
            timeout_s,
        )

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

    @property
    def explain(self) -> Explain:
        """Explanations: which parts of a picture an answer rests on."""
        return Explain(self._session)

    def server_info(self, *, timeout_s: float | None = None) -> ServerInfo:
        """Return the server's versions, device, limits and data folder.

        If the server uses tokens, this needs the scope admin.
        """
        return self._session.run(admin.get_server_info(), timeout_s)

    def check_ready(self, *, timeout_s: float = 5.0) -> None:
        """Raise an error if the server does not take calls; the error says why. Needs no token.

        Raises
        ------
        Unavailable
            The server cannot be reached, or is starting or stopping.
        DeadlineExceeded
            The server does not answer within ``timeout_s``.
        """
        self._session.run(admin.check_ready(), timeout_s)

    def is_ready(self, *, timeout_s: float = 5.0) -> bool:
        """Return whether the server takes calls. Needs no token.

        False if it cannot be reached, is starting or stopping, or does not answer within ``timeout_s``.
        """
        return self._session.run(admin.check_health(), timeout_s)

    def _collection(self, facts: CollectionFacts) -> Collection:
        return Collection(**vars(facts), _session=self._session)
