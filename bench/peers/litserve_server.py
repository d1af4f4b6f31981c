"""A network in LitServe: `python litserve_server.py BUNDLE files|pixels PORT THREADS`.

Takes the body of a multipart form, field "data". Needs an environment of its own, see serving_peers.py.
"""

from __future__ import annotations

import sys
from typing import Any

import litserve
import numpy as np
from fastapi import Response
from network import open_network


class Network(litserve.LitAPI):  # type: ignore[misc]  # it lies in another environment
    """The steps of a call, as LitServe names them."""

    def __init__(self, bundle: str, kind: str, threads: int) -> None:
        super().__init__(max_batch_size=32, batch_timeout=0.005)  # with 0 an idle server takes a whole core
        self._bundle, self._is_files, self._threads = bundle, kind == "files", threads

    def setup(self, device: Any) -> None:
        """Load the network."""
        self._px, self._run, self._prepare = open_network(self._bundle, self._threads)

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # LitServe takes forms only without types
        """Return the body."""
        return bytes(request["data"].file.read())

    def batch(self, inputs: list[bytes]) -> Any:
        """Prepare a batch."""
        if self._is_files:
            return self._prepare(inputs)
        return np.stack([np.frombuffer(one, np.float32).reshape(3, self._px, self._px) for one in inputs])

    def predict(self, batch: Any) -> Any:
        """Run it."""
        return self._run(batch)

    def unbatch(self, output: Any) -> list[Any]:
        """Return its rows."""
        return list(output)

    def encode_response(self, output):  # type: ignore[no-untyped-def]  # as above
        """Return the answer."""
        return Response(output.tobytes())


if __name__ == "__main__":
    bundle, kind, port, threads = sys.argv[1:]
    server = litserve.LitServer(Network(bundle, kind, int(threads)), accelerator="cpu", timeout=False)
    server.run(port=int(port), host="127.0.0.1", generate_client_file=False)
