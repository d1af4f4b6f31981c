"""The client that waits: connect, and everything that a server of fc7 does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType

from fc7._operations import admin, collection, feature, model
from fc7._operations import head as heads
from fc7._operations.feature import OnError, OnStreamError
from fc7._session import Session
from fc7.collection import Collection
from fc7.endpoint import Endpoint, read_endpoint
from fc7.errors import FailedPrecondition, InvalidArgument, Reason
from fc7.explain import Explain
from fc7.feature_stream import FeatureStream
from fc7.features import Features
from fc7.images import ImageLike
from fc7.local_server import LocalServer
from fc7.requested_models import check_default, check_served
from fc7.results import Classification, CollectionFacts, Golden, Head, Metric, Model, ServerInfo


def connect(
    address: str | None = None,
    *,
    data: Path | str | None = None,
    models: Sequence[str] = (),
    device: str = "auto",
    threads: int | None = None,
    token_file: Path | str | None = None,
    tls_ca: Path | str | None = None,
    timeout_s: float | None = None,
) -> Client:
    """Return a client of a server, or of the same server started in this process.

    Parameters
    ----------
    address
        HOST:PORT. Without it and without ``data`` the variable FC7_SERVER is taken.
    data
        Without an address: the data folder, by default this user's. If a process holds it,
        that one's server answers; else one is started here.
    models, device, threads
        Without an address: names or folders of bundles, the default first; "auto", "cpu" or "cuda"; threads of the
        engine. A server started here takes them; a process that holds the folder must have been started alike.
    token_file
        With an address: a file that holds the token to send; else FC7_TOKEN_FILE names it.
    tls_ca
        With an address: PEM file of the authority that signed the server's certificate; TLS is used.
    timeout_s
        Seconds for each method's whole call, where the call names no other number. By default a call may take as long
        as it needs, and each of its requests to the server 300 s.

    Raises
    ------
    InvalidArgument
        The address is not HOST:PORT, or an argument does not go with the others.
    NotFound
        A file that is named does not exist.
    FailedPrecondition
        No server can be started here: dependencies, folder or bundle. Or a process holds the folder, with other
        models or on another device than asked for.
    """
    endpoint = find_server(address, data, models, device, threads, token_file, tls_ca)
    if endpoint is None:
        return connect_local(data, models=models, device=device, threads=threads, timeout_s=timeout_s)
    return Client(Session(endpoint, timeout_s))


def find_server(
    address: str | None,
    data: Path | str | None,
    models: Sequence[str],
    device: str,
    threads: int | None,
    token_file: Path | str | None,
    tls_ca: Path | str | None,
) -> Endpoint | None:
    """Return the server that the arguments or FC7_SERVER name; None for that of a data folder here.

    Raises
    ------
    InvalidArgument
        An argument that would have no effect, or an address that is not HOST:PORT.
    NotFound
        A file that is named does not exist.
    """
    source = "address="
    if address is None and data is None:
        address, source = os.environ.get("FC7_SERVER") or None, "FC7_SERVER"  # noqa: TID251
    here = {
        "data": data is not None,
        "models": bool(models),
        "device": device != "auto",
        "threads": threads is not None,
    }
    there = {"token_file": token_file is not None, "tls_ca": tls_ca is not None}
    for name, is_given in (there if address is None else here).items():
        if is_given and address is None:
            raise InvalidArgument(
                f"{name}= is for a server elsewhere. Give its address, or leave {name} out", name=name
            )
        if is_given:
            raise InvalidArgument(
                f"{name}= is for a server in this process, but {source} names {address}. Leave one of the two out",
                name=name,
            )
    if address is None:
        return None
    token_file = token_file or os.environ.get("FC7_TOKEN_FILE") or None  # noqa: TID251
    return read_endpoint(address, token_file, tls_ca)


def connect_local(
    data: Path | str | None,
    *,
    models: Sequence[str] = (),
    named: Sequence[str] = (),
    device: str = "auto",
    threads: int | None = None,
    timeout_s: float | None = None,
) -> Client:
    """Return a client of the server of a data folder, as `connect` does without an address.

    Parameters
    ----------
    named
        Models and bundles that every call will name: a server started here has them alone, another's must have them.
    data, models, device, threads, timeout_s
        As `connect` takes them.
    """
    local = LocalServer(data, named or models, device, threads)
    client = Client(Session(local.reach(), timeout_s, local))
    try:
        if not local.is_ours:
            _check_holder(client, models, named, device, threads)
    except BaseException:
        client.close()
        raise
    return client


def _check_holder(
    client: Client, models: Sequence[str], named: Sequence[str], device: str, threads: int | None
) -> None:
    """Refuse the server of another process where it is not what was asked for."""
    where = "the process that holds the data folder"
    if named:
        check_served(client.models(), named, where)
    elif models:
        check_default(client.models(), models, where)
    if device == "auto" and threads is None:
        return
    info = client.server_info()
    if device != "auto" and ("CUDA" in info.provider) != (device == "cuda"):
        raise FailedPrecondition(
            f"{where} runs on {info.provider}, not on device {device!r}: stop it (process {info.pid}), or leave the "
            "device out",
            name="device",
            reason=Reason.DEVICE_UNAVAILABLE,
        )
    if threads is not None and info.threads != threads:
        raise FailedPrecondition(
            f"{where} runs {info.threads} threads, not {threads}: stop it (process {info.pid}), or leave the threads "
            "out",
            name="threads",
        )


class Client:
    """A server of fc7, as `connect` returns it; a context manager.

    Threads may share one. Long lists are sent in batches. A call that fails because the server is away, or because
    its queue is full, is sent again within its time; calls that a second sending could change (create, delete,
    publish, train) are not. Ctrl-C cancels the call under way, and no other thread's. gRPC does not survive `os.fork`:
    connect in the child, or start workers with "spawn".

    Every method takes ``timeout_s``: seconds for the whole call, with all its requests and pauses. None takes the
    client's default, which `connect` names. Where the time is over, the call ends with `DeadlineExceeded`.

    Errors of the server are raised as the classes of `fc7.errors`.
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
        """Close the connection; stop the server if it was started here."""
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
        """Return one feature an image, in input order.

        Parameters
        ----------
        images
            One image or an iterable of images: paths, URLs (http, https), bytes of a file, files opened with "rb",
            Pillow images (as their pixels are, whatever their EXIF says), uint8 arrays (H, W, 3) in RGB or (H, W) in
            grey. An array of paths or of images (N, H, W, 3) is a list.
        layer
            Output name, empty for the model's default; D is the model's dimension of it.
        model
            Model name; empty for the server's default.
        ensemble
            In place of ``model``, two models or more: D is the sum of theirs, each part of length 1.
        views
            1, or 10: the mean over the corners and the centre of each image, also mirrored.
        on_error
            An unreadable image ends the call, or is listed in `.failed` and has no row.
        timeout_s
            Seconds for the whole call; None takes the client's default.
        report
            Called with the number of images done, after each batch.

        Returns
        -------
        Features
            `.values` float32 (N, D), `.provenance`, `.failed`. The values are the layer's as the model gives it,
            and not normalised; those of an ensemble have length 1 in each part. "fc6" and "fc7" are post-ReLU. The
            shipped default, "conv5_pooled", is whitened: it has values below 0.

        Raises
        ------
        ImageDecodeError
            With ``on_error="raise"``; `.index` says which image.
        InvalidArgument
            Other views than 1 or 10; an ensemble of one, with one twice, or beside ``model``.
        NotFound
            No such model, layer or (with ``on_error="raise"``) file.
        DeadlineExceeded
            No complete answer within ``timeout_s``.

        References
        ----------
        Krizhevsky et al. 2012, sections 3.5 and 6.1 (4096-d last hidden layer as image distance).
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
        """Yield one feature float32 (D,) or error per image, in input order; for lists without end.

        The images are read in another thread, a few ahead of the answers.

        Parameters
        ----------
        images, layer, model, ensemble, views
            As `extract` takes them.
        on_error
            An unreadable image is yielded as its error, ends the call, or is skipped: then the features no longer
            stand beside the images.
        timeout_s
            Seconds for the whole stream; None takes the client's default.

        Returns
        -------
        FeatureStream
            An iterator with `.provenance` and `.close()`.
        """
        facts = feature.StreamFacts()
        operation = feature.extract_stream(images, layer, model, ensemble, views, on_error, facts)
        return FeatureStream(self._session.iterate(operation, timeout_s), facts)

    def models(self, *, timeout_s: float | None = None) -> list[Model]:
        """Return the server's models, the default one first; without classes and card."""
        return self._session.run(model.list_models(), timeout_s)

    def model(self, name: str = "", *, timeout_s: float | None = None) -> Model:
        """Return one model with its classes and card; the default one without a name."""
        return self._session.run(model.get_model(name), timeout_s)

    def golden(self, name: str = "", *, timeout_s: float | None = None) -> Golden:
        """Return a model's golden pictures and what each layer made of them where it was exported."""
        return self._session.run(model.get_golden(name), timeout_s)

    def create_collection(
        self, name: str, *, layer: str = "", model: str = "", metric: Metric = "cosine", timeout_s: float | None = None
    ) -> Collection:
        """Create an empty collection, bound to one layer of one model.

        Parameters
        ----------
        name
            1 to 64 of letters, digits, ".", "_", "-"; not starting with ".".
        layer, model
            What its images will go through; empty for the server's default and that model's default.
        metric
            "cosine", "l2" (score is minus the distance) or "dot".

        Raises
        ------
        AlreadyExists
            The name is taken.
        NotFound
            No such model or layer.
        """
        return self._collection(self._session.run(collection.create(name, layer, model, metric), timeout_s))

    def collection(self, name: str, *, check: bool = True, timeout_s: float | None = None) -> Collection:
        """Return a collection.

        Parameters
        ----------
        check
            Ask the server for it. Without that, the collection is bound by its name alone: one that is missing is
            told by its first call, and its facts are empty until `Collection.refresh`.

        Raises
        ------
        NotFound
            There is no such collection.
        """
        facts = self._session.run(collection.get(name), timeout_s) if check else collection.unknown(name)
        return self._collection(facts)

    def collections(self, *, timeout_s: float | None = None) -> list[Collection]:
        """Return all collections, by name."""
        return [self._collection(facts) for facts in self._session.run(collection.list_all(), timeout_s)]

    def delete_collection(self, name: str, *, timeout_s: float | None = None) -> None:
        """Delete a collection and all its items."""
        self._session.run(collection.delete(name), timeout_s)

    def train_head(
        self,
        name: str,
        *,
        collection: str | None = None,
        label: str = "label",
        images: ImageLike | Iterable[ImageLike] | None = None,
        features: Features | None = None,
        labels: Iterable[str] | None = None,
        layer: str = "",
        model: str = "",
        timeout_s: float | None = None,
        report: Callable[[int], object] | None = None,
    ) -> Head:
        """Train the next version of a head, on a collection or on labelled images.

        Parameters
        ----------
        name
            1 to 64 of letters, digits, ".", "_", "-"; not starting with ".".
        collection, label
            Take the features of this collection, and as label this field of each payload.
        images, labels
            Or take these images, one label each. Unreadable ones are left out and listed in `.failed`.
        features, labels
            Or take these features, one label per row. A model of the server must have made them, each from one view.
        layer, model
            What the images go through; empty for the server's default and that model's default.
        report
            Called with the number of images extracted, after each batch.

        Raises
        ------
        InvalidArgument
            Fewer than two classes, or not one label an image.

        References
        ----------
        Krizhevsky et al. 2012, section 3.5: the softmax layer alone is fitted anew.
        """
        plan = heads.plan(name, collection, label, layer, model, features)
        return self._session.run(heads.train(plan, images, features, labels, report), timeout_s)

    def publish_head(self, name: str, version: int = 0, *, timeout_s: float | None = None) -> Head:
        """Make a version the one that `classify` uses; 0 for the newest."""
        return self._session.run(heads.publish(name, version), timeout_s)

    def head(self, name: str, version: int = 0, *, timeout_s: float | None = None) -> Head:
        """Return one version of a head; 0 for the newest."""
        return self._session.run(heads.get(name, version), timeout_s)

    def heads(self, *, all_versions: bool = False, timeout_s: float | None = None) -> list[Head]:
        """Return the newest version of every head, by name; or all versions, oldest first."""
        return self._session.run(heads.list_all(all_versions), timeout_s)

    def delete_head(
        self,
        name: str,
        version: int | None = None,
        *,
        all_versions: bool = False,
        timeout_s: float | None = None,
    ) -> None:
        """Delete a version of a head that is not published or, with ``all_versions``, the whole head."""
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
        timeout_s: float | None = None,
        report: Callable[[int], object] | None = None,
    ) -> list[Classification]:
        """Return the classes of each image, in input order.

        Parameters
        ----------
        images
            As `extract` takes them; an unreadable one has its `.error`.
        head
            A published head; empty for the network's own classes.
        head_version
            Version of the head, published or not; 0 for the published one.
        model
            Without a head: model name, empty for the server's default.
        ensemble
            In place of both, two models or more of the same classes, whose probabilities are averaged.
        views
            1, or 10: the mean of the probabilities over the corners and the centre, also mirrored.
        top
            How many classes an image.
        report
            Called with the number of images done, after each batch.

        Raises
        ------
        InvalidArgument
            Other views than 1 or 10; an ensemble of one, with one twice, of other classes, or beside a head or model.
        NotFound
            No such head or model.
        FailedPrecondition
            No version of the head is published, or no model here made its features.
        """
        return self._session.run(
            heads.classify(images, head, model, ensemble, views, top, report, head_version), timeout_s
        )

    @property
    def explain(self) -> Explain:
        """Why the networks answer as they do, in pixels."""
        return Explain(self._session)

    def server_info(self, *, timeout_s: float | None = None) -> ServerInfo:
        """Return the server's versions, device, limits and data folder; needs scope admin."""
        return self._session.run(admin.get_server_info(), timeout_s)

    def check_ready(self, *, timeout_s: float = 5.0) -> None:
        """Raise `Unavailable`, which says why, unless a server is there and takes calls; needs no token."""
        self._session.run(admin.check_ready(), timeout_s)

    def is_ready(self, *, timeout_s: float = 5.0) -> bool:
        """Return whether a server is there and takes calls; False while it starts, drains or is away."""
        return self._session.run(admin.check_health(), timeout_s)

    def _collection(self, facts: CollectionFacts) -> Collection:
        return Collection(**vars(facts), _session=self._session)
