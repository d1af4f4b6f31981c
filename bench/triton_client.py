"""Check a running server with NVIDIA's own client: `python bench/triton_client.py HOST:PORT MODEL PICTURE`.

Run it in an environment of its own, because the client pins another protobuf than fc7's tools:

    python -m venv triton && triton/bin/pip install "tritonclient[grpc]"
    triton/bin/python bench/triton_client.py 127.0.0.1:50051 alexnet-64 query.jpg
"""

from __future__ import annotations

import queue
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton

LAYER = "fc7"


def main(address: str, model: str, picture: str) -> None:
    """Print a line per check; an assertion that fails ends the script."""
    client, data = triton.InferenceServerClient(address), Path(picture).read_bytes()
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(model)
    assert not client.is_model_ready("none")
    print("server", client.get_server_metadata(as_json=True))
    outputs = {one["name"]: one["shape"] for one in client.get_model_metadata(model, as_json=True)["outputs"]}
    print("outputs", outputs)
    assert client.get_model_config(model).config.max_batch_size > 1

    files = triton.InferInput("image", [2], "BYTES")
    files.set_data_from_numpy(np.array([data, data], object))
    found = client.infer(model, [files], outputs=[triton.InferRequestedOutput(LAYER)], request_id="mine")
    values = found.as_numpy(LAYER)
    assert values.shape == (2, int(outputs[LAYER][1]))
    assert np.array_equal(values[0], values[1])
    assert found.get_response().id == "mine"
    print("pictures", values.shape)

    top = client.infer(model, [files], outputs=[triton.InferRequestedOutput("logits", class_count=3)])
    print("classes", [word.decode() for word in top.as_numpy("logits")[0]])

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (1, 64, 48, 3), dtype=np.uint8)
    tensor = triton.InferInput("image", pixels.shape, "UINT8")
    tensor.set_data_from_numpy(pixels)
    print("pixels", client.infer(model, [tensor], outputs=[triton.InferRequestedOutput(LAYER)]).as_numpy(LAYER).shape)

    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for name in (model, "none", model):
        client.async_stream_infer(name, [files], outputs=[triton.InferRequestedOutput(LAYER)])
    kinds = [error is None for _, error in (answers.get(timeout=60) for _ in range(3))]
    client.stop_stream()
    assert kinds == [True, False, True]
    print("stream", kinds)

    try:
        client.infer("none", [files])
    except triton.InferenceServerException as error:
        print("unknown model", error.status(), error.message())
    (statistics,) = client.get_inference_statistics(model, as_json=True)["model_stats"]
    print("statistics", statistics["inference_count"], statistics["inference_stats"]["success"])
    print("index", client.get_model_repository_index(as_json=True)["models"])
    client.load_model(model)
    print("after a reload", client.get_model_repository_index(as_json=True)["models"])
    assert np.allclose(client.infer(model, [files]).as_numpy(LAYER), values, rtol=1e-5)


if __name__ == "__main__":
    main(*sys.argv[1:])
