"""A network in Triton, by PyTriton: `python pytriton_server.py BUNDLE files|pixels PORT THREADS`.

Ready when the model is; stops at SIGTERM. Needs an environment of its own, see serving_peers.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from network import LAYER, open_network
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


def main(bundle: str, kind: str, port: str, threads: str) -> None:
    """Serve."""
    px, run, prepare = open_network(bundle, int(threads))
    is_files = kind == "files"

    @batch
    def infer(image: Any) -> dict[str, Any]:
        return {LAYER: run(prepare([bytes(row[0]) for row in image]) if is_files else image)}

    taken = Tensor(name="image", dtype=bytes if is_files else np.float32, shape=(1,) if is_files else (3, px, px))
    dim = run(np.zeros((1, 3, px, px), np.float32)).shape[1:]
    config = TritonConfig(
        http_port=int(port) + 1, grpc_port=int(port), metrics_port=int(port) + 2,
        http_address="127.0.0.1", grpc_address="127.0.0.1",
    )  # fmt: skip
    with Triton(config=config) as triton:
        triton.bind(
            model_name=Path(bundle).name,
            infer_func=infer,
            inputs=[taken],
            outputs=[Tensor(name=LAYER, dtype=np.float32, shape=dim)],
            config=ModelConfig(max_batch_size=32, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
        )
        triton.serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
