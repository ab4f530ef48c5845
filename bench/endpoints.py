"""Four endpoints, of which one is killed and one throttled, against what the others can do.

    .venv/bin/python -m bench.endpoints [--latency 0.2] [--in-flight 64] [--limit 8]

Each endpoint is a `mirage mock-server` of its own. After two seconds the first gets SIGKILL. The
second answers 429 above `--limit` calls at once for the first nine seconds, and then no more. Until
then the remaining capacity is that limit and what two thirds of `--in-flight` let through, then all
of `--in-flight`. It prints both rates beside the ideal ones, and whether every row was written.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MIRAGE = Path(__file__).parents[1] / ".venv" / "bin" / "mirage"
KILLED_AFTER, LIMITED_FOR, LIFTED_FOR = 2.0, 9.0, 6.0
SETTLE = 1.0
RECOVERY = 4.0
TARGET = 0.85


@dataclass(frozen=True, slots=True)
class Look:
    """What the servers had done at a time: answers so far, and calls under way, by server."""

    at: float
    answered: tuple[int, ...]
    in_flight: tuple[int, ...]


@dataclass(slots=True)
class Server:
    """One mock server; what a dead one had answered is remembered."""

    process: subprocess.Popen[str]
    address: str
    answered: int = 0

    def look(self) -> tuple[int, int]:
        if self.process.poll() is not None:
            return self.answered, 0
        url = self.address.removesuffix("/v1") + "/stats"
        with urllib.request.urlopen(url, timeout=5) as response:
            stats = json.load(response)
        self.answered = stats["answered"]
        return self.answered, stats["in_flight"]


@contextmanager
def serving(latency: float, limits: list[int]) -> Iterator[list[Server]]:
    """One server for each limit, 0 being none."""
    servers = []
    try:
        for limit in limits:
            words = ["--port", "0", "--json", "--latency", str(latency)]
            words += ["--limit", str(limit), "--limit-for", str(LIMITED_FOR)]
            process = subprocess.Popen(
                [MIRAGE, "mock-server", *words], stdout=subprocess.PIPE, text=True
            )
            assert process.stdout is not None
            servers.append(Server(process, json.loads(process.stdout.readline())["base_url"]))
        yield servers
    finally:
        for server in servers:
            server.process.kill()
            server.process.wait()


def config(folder: Path, servers: list[Server], rows: int, in_flight: int) -> Path:
    lines = (json.dumps({"q": f"question {n}"}) for n in range(rows))
    (folder / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines))
    engine = {
        "backend": "openai",
        "model_path": "m",
        "base_url": [server.address for server in servers],
        "max_in_flight": in_flight,
    }
    written = {
        "source": {"path": "rows.jsonl"},
        "engine": engine,
        "inputs": [{"name": "q", "key": "q"}],
        "outputs": [{"name": "a", "prompt": "{q}"}],
        "output_schema": {"q": "{q}", "a": "{a}"},
        "sink": {"path": "out.jsonl"},
    }
    path = folder / "config.yaml"
    path.write_text(json.dumps(written))
    return path


def watch(run: subprocess.Popen[str], servers: list[Server]) -> list[Look]:
    """Look on until the run ends, and kill the first server on the way. Time begins with the first
    answer.
    """
    looks: list[Look] = []
    began = 0.0
    while run.poll() is None:
        seen = [server.look() for server in servers]
        now = time.monotonic()
        if not began and any(answered for answered, _ in seen):
            began = now
        if began:
            looks.append(Look(now - began, *zip(*seen, strict=True)))  # type: ignore[arg-type]
        if began and now - began >= KILLED_AFTER and servers[0].process.poll() is None:
            servers[0].process.send_signal(signal.SIGKILL)
            servers[0].process.wait()
        time.sleep(0.05)
    return looks


def rate(looks: list[Look], start: float, stop: float) -> float:
    """Answers per second between two times."""
    inside = [look for look in looks if start <= look.at <= stop]
    if len(inside) < 2:
        return 0.0
    first, last = inside[0], inside[-1]
    return (sum(last.answered) - sum(first.answered)) / (last.at - first.at)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.endpoints", description=__doc__)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--limit", type=int, default=8)
    args = parser.parse_args()
    share = args.in_flight // 3
    throttled = (2 * share + args.limit) / args.latency
    lifted = 3 * share / args.latency
    seconds = LIMITED_FOR * throttled + LIFTED_FOR * lifted
    rows = int(seconds)
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(args.latency, [0, args.limit, 0, 0]) as servers,
    ):
        path = config(Path(folder), servers, rows, args.in_flight)
        run = subprocess.Popen(
            [MIRAGE, "run", path, "--json", "--quiet"], stdout=subprocess.PIPE, text=True
        )
        looks = watch(run, servers)
        assert run.stdout is not None
        counts = json.loads(run.stdout.read())["counts"]
        written = {json.loads(line)["q"] for line in (Path(folder) / "out.jsonl").open()}
    done = next(look.at for look in looks if look.answered == looks[-1].answered)
    last = done - args.latency  # from then on there are fewer rows than calls
    during = rate(looks, KILLED_AFTER + SETTLE, LIMITED_FOR)
    after = rate(looks, LIMITED_FOR + RECOVERY, last)
    print(f"rows {rows:,}, written {counts['written']:,}, distinct {len(written):,}")
    print("| phase | rows/s | capacity | share | target |\n|---|---:|---:|---:|---:|")
    for name, measured, ideal in (
        (f"one killed, one limited to {args.limit}", during, throttled),
        ("one killed, the limit lifted", after, lifted),
    ):
        share_of = measured / ideal
        print(f"| {name} | {measured:.0f} | {ideal:.0f} | {share_of:.2f} | ≥ {TARGET} |")
    for name, start, stop in (
        ("limited", KILLED_AFTER + SETTLE, LIMITED_FOR),
        ("lifted", LIMITED_FOR + RECOVERY, last),
    ):
        seen = [look.in_flight for look in looks if start <= look.at <= stop]
        most = [max(column) for column in zip(*seen, strict=True)]
        print(f"most calls at once at each endpoint, {name}: {most}")


if __name__ == "__main__":
    main()
