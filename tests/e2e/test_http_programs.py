"""The HTTP door for programs: its description, OpenAI's client, probes and metrics."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from prometheus_client.parser import text_string_to_metric_families
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import every_call
import fc7
from servers import Served, jpeg, serving
from web import JSON, ask, call

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def served(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("programs"), "--model", str(tiny_bundle), "--http", "127.0.0.1:0") as server:
        yield server


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"http://{served.http}/v1", api_key="none", max_retries=0) as client:
        yield client


def data_url(picture: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"


def test_the_description_has_every_method_with_its_comment(served: Served) -> None:
    answer = ask(served.http, "/openapi.json")
    assert answer.headers["content-type"] == JSON
    described = answer.json
    assert described["openapi"].startswith("3.1")
    paths = {f"/{m.containing_service.full_name}/{m.name}": m for m in every_call.methods().values()}
    assert paths.keys() <= described["paths"].keys()
    query = described["paths"]["/fc7.v1.CollectionService/QueryItems"]["post"]
    assert query["description"].startswith("Find the nearest items of each query.")
    assert {"application/json", "application/proto", "image/*", "multipart/form-data"} == set(
        query["requestBody"]["content"]
    )
    k = described["components"]["schemas"]["QueryItemsRequest"]["properties"]["k"]
    assert k["description"].startswith("Neighbours per query, at least 1.")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_answer_is_undocumented(served: Served, mode: GenerationMode) -> None:
    """Schemathesis makes requests from the description, valid ones or others, and compares the answers with it."""
    schema = schemathesis.openapi.from_url(f"http://{served.http}/openapi.json")
    n_answers = 0

    def check(case: Any) -> None:
        nonlocal n_answers
        case.call_and_validate(checks=CHECKS)
        n_answers += 1

    for result in schema.get_all_operations():
        operation = result.ok()
        if "x-ndjson" in json.dumps(operation.definition.raw):
            continue  # streams: it knows no way to write them
        if mode is GenerationMode.NEGATIVE and not operation.body:
            continue  # there is nothing to get wrong
        few = settings(max_examples=4, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
        few(given(operation.as_strategy(generation_mode=mode))(check))()
    assert n_answers > 60


def test_the_client_of_openai_gets_features(served: Served, client: openai.OpenAI) -> None:
    pictures = [jpeg(1), jpeg(2)]
    with fc7.connect(served.address) as other:
        expected = other.extract(pictures, layer="fc7").values
    for encoding in ("float", "base64"):  # the client asks for base64 by default, and reads both
        answer = client.embeddings.create(
            model="tiny/fc7", input=[data_url(one) for one in pictures], encoding_format=encoding
        )
        rows = [one.embedding for one in answer.data]
        found = np.stack([np.frombuffer(base64.b64decode(r), "<f4") if isinstance(r, str) else r for r in rows])
        np.testing.assert_array_equal(found.astype(np.float32), expected)
        assert [one.index for one in answer.data] == [0, 1]
    single = client.embeddings.create(model="tiny/fc7", input=data_url(pictures[0]), dimensions=8)
    np.testing.assert_array_equal(np.float32(single.data[0].embedding), expected[0])
    default = client.embeddings.create(model="tiny", input=data_url(pictures[0]))
    assert len(default.data[0].embedding) in {8, 16, 64}


def test_openai_lists_networks_and_layers(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names[0] == "tiny"
    assert {"tiny/fc6", "tiny/fc7"} <= set(names)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"model": "none", "input": data_url(jpeg(1))}, "none"),
        ({"model": "tiny/fc9", "input": data_url(jpeg(1))}, "fc9"),
        ({"model": "tiny", "input": "a text"}, "input[0]"),
        ({"model": "tiny", "input": [data_url(jpeg(1)), "http://example.org/a.jpg"]}, "input[1]"),
        ({"model": "tiny", "input": [data_url(jpeg(1)), data_url(b"no picture")]}, "input[1]"),
        ({"model": "tiny", "input": ["data:image/jpeg;base64,!!"]}, "input[0]"),
        ({"model": "tiny", "input": [1, 2]}, "input[0]"),
        ({"model": "tiny", "input": []}, "images"),
        ({"model": "tiny/fc7", "input": data_url(jpeg(1)), "dimensions": 3}, "dimensions"),
        ({"model": "tiny", "input": data_url(jpeg(1)), "extra_body": {"colour": 1}}, "colour"),
    ],
)
def test_openai_is_told_what_is_wrong(client: openai.OpenAI, asked: dict[str, Any], name: str) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.embeddings.create(**asked)
    assert caught.value.status_code in (400, 404)
    assert caught.value.body["param"] == name  # type: ignore[index]


def test_a_supervisor_learns_whether_it_lives_and_is_ready(tiny_bundle: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data, "--model", str(tiny_bundle), "--http", "127.0.0.1:0") as served:
        assert ask(served.http, "/healthz").json == {"status": "SERVING"}
        assert ask(served.http, "/readyz").status == 200
        data.rename(tmp_path / "elsewhere")
        assert ask(served.http, "/healthz").status == 200
        assert (ask(served.http, "/readyz").status, ask(served.http, "/readyz").json["status"]) == (503, "NOT_SERVING")


def test_metrics_count_calls_over_http(served: Served) -> None:
    method = "fc7.v1.CollectionService/CountItems"
    call(served.http, "CollectionService/CountItems", {"collection": "none"})
    answer = ask(served.http, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    counted = {
        (sample.labels["method"], sample.labels["code"]): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
        if sample.name == "fc7_requests_total"
    }
    assert counted[method, "NOT_FOUND"] >= 1
