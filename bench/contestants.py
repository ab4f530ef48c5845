"""Who is measured, what each is asked to do, and whether what it wrote is right.

All contestants make the same rows out of the same input: the peers as the calls come back, mirage
in the order of the source.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.server import Latency
from bench.workplace import HERE, Workplace

MIRAGE = "mirage"
NONE = Latency()
PEERS = {"raw-uv": "raw", "pyreqwest-uv": "pyreqwest", "aiohttp-uv": "aiohttp"}
CLIENT = HERE / "peers" / "client.py"
PROMPT = (
    "Rewrite the following conversation as one well-formed paragraph. Keep every fact.\n\n"
    "{% for turn in conversations %}[{{ turn.role }}]: {{ turn.content }}"
    "{% if not loop.last %}\n{% endif %}{% endfor %}"
)


@dataclass(frozen=True, slots=True)
class Job:
    """What all contestants do alike. `image` names the column with pictures, if any; `workers` are
    the processes of mirage; where there are none, as many as it starts by itself.
    """

    input: Path
    rows: int
    in_flight: int
    latency: Latency = NONE
    image: str = ""
    workers: int = 0


def peer_command(name: str, job: Job, output: Path, base_url: str, place: Workplace) -> list[Any]:
    client = [place.peers.python, CLIENT, "--client", PEERS[name]]
    where = ["--url", f"{base_url}/chat/completions", "--input", job.input, "--output", output]
    return [*client, *where, "--in-flight", str(job.in_flight)]


def mirage_command(job: Job, output: Path, base_url: str, place: Workplace) -> list[Any]:
    """Writes the configuration beside the output, and runs it as a user would."""
    engine = {
        "backend": "openai",
        "model_path": "mock",
        "base_url": base_url,
        "max_in_flight": job.in_flight,
        "sampling": {"temperature": 0.0, "max_new_tokens": 512},
    }
    return run_command(config_of(job, engine, output), output.parent, place)


def config_of(job: Job, engine: Mapping[str, Any], output: Path) -> dict[str, Any]:
    inputs = [{"name": "id", "key": "id"}]
    columns = {"id": "{id}", "text": "{text}"}
    prompt = PROMPT
    if job.image:
        inputs.append({"name": "question", "key": "question"})
        inputs.append({"name": "picture", "key": job.image, "type": "image"})
        prompt = "{question}"
    else:
        inputs.append({"name": "conversations", "key": "conversations"})
        columns["conversations"] = "{conversations}"
    return {
        "source": {"path": str(job.input)},
        "engine": engine,
        "inputs": inputs,
        "outputs": [{"name": "text", "type": "llm", "output_type": "plain", "prompt": prompt}],
        "output_schema": columns,
        "sink": {"path": str(output)},
        "run": {"dir": str(output.with_name("run")), "workers": job.workers or None},
    }


def run_command(config: Mapping[str, Any], folder: Path, place: Workplace) -> list[Any]:
    path = folder / "config.yaml"
    path.write_text(json.dumps(config, indent=2))  # JSON is YAML
    return [place.mirage, "run", path, "--quiet"]


def problem_with(output: Path, job: Job) -> str:
    """What is wrong with the rows that a contestant wrote; empty where all is well."""
    seen = bytearray(job.rows)
    with output.open("rb") as file:
        for line in file:
            row = json.loads(line)
            number, text = row["id"], row["text"]
            if not text.startswith(f"Answer to ROW#{number}#:"):
                return f"row {number} holds another row's answer: {text[:40]}"
            if not job.image and not row["conversations"][0]["content"].startswith(
                f"ROW#{number}#"
            ):
                return f"row {number} holds another row's conversation"
            if seen[number]:
                return f"row {number} stands there twice"
            seen[number] = 1
    missing = job.rows - sum(seen)
    return f"{missing} rows are missing" if missing else ""
