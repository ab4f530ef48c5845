"""Servers behind a real Ray Serve; tests/scale/servers has a stand-in of Ray's dashboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from trust.trial import Trial, questions

from mirage.errors import ConfigError

from .slurm_here import free_ports

pytestmark = pytest.mark.scale


@pytest.fixture(scope="module")
def dashboard() -> Iterator[str]:
    """The address of one, of a cluster with one node that this process has joined."""
    pytest.importorskip("ray.serve", reason="pip install 'ray[default,serve]'")
    import ray
    from ray.cluster_utils import Cluster

    port = free_ports()["daemon"]
    head = {"num_cpus": 2, "include_dashboard": True, "dashboard_port": port}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        ray.init(cluster.address, log_to_driver=False)
        yield cluster.head_node.webui_url
    finally:
        ray.shutdown()
        cluster.shutdown()


def serve(port: int) -> None:
    """Echo what is asked, as OpenAI's API has it."""
    from ray import serve

    class Echo:
        async def __call__(self, request: Any) -> dict[str, Any]:
            assert request.url.path == "/echo/v1/chat/completions"
            text = (await request.json())["messages"][-1]["content"]
            message = {"role": "assistant", "content": text}
            return {"choices": [{"message": message, "finish_reason": "stop"}]}

    serve.start(http_options={"host": "0.0.0.0", "port": port})
    serve.run(serve.deployment(Echo).bind(), name="llm", route_prefix="/echo")


def test_an_application_is_found(tmp_path: Path, dashboard: str) -> None:
    """By its name at the dashboard; what is not there yet, or by another name, is a mistake."""
    trial = Trial(tmp_path, questions(20), f"ray:{dashboard}/llm")
    with pytest.raises(ConfigError, match="no application llm; there is none at all"):
        trial.run()
    serve(free_ports()["daemon"])
    assert trial.run().counts.written == 20
    assert trial.output()[7] == {"q": "question 7", "answer": "Answer this: question 7"}
    trial.set(engine={"base_url": f"ray:{dashboard}/chat"})
    with pytest.raises(ConfigError, match="no application chat; there are llm"):
        trial.run()
