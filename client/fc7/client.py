"""The client that waits for its answers."""

from __future__ import annotations

from types import TracebackType

from fc7._client.classification import ClassificationCalls
from fc7._client.collections import CollectionCalls
from fc7._client.features import FeatureCalls
from fc7._client.heads import HeadCalls
from fc7._client.models import ModelCalls
from fc7._client.server import ServerCalls
from fc7._session import Session
from fc7.explain import Explain


class Client(ServerCalls, ClassificationCalls, HeadCalls, CollectionCalls, ModelCalls, FeatureCalls):
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

    @property
    def explain(self) -> Explain:
        """Explanations: which parts of a picture an answer rests on."""
        return Explain(self._session)
