"""Look keys up in a store, with MIRAGE or as one would by hand: stores.py READER STORE IMAGES KEYS

Says how long opening took, and the look-ups after it.
"""

from __future__ import annotations

import base64
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.stores import Images, key

Read = Callable[[str], bytes]


def mirage(path: str) -> Read:
    from mirage.store import open_store

    return open_store(path).read


def pandas(path: str) -> Read:
    from pandas import read_parquet

    frame = read_parquet(path)
    return lambda key: base64.urlsafe_b64decode(frame.loc[key]["base64"])


def whole_json(path: str) -> Read:
    with Path(path).open() as file:
        texts = json.load(file)
    return lambda key: base64.urlsafe_b64decode(texts[key])


def main() -> None:
    reader, path, count, keys = sys.argv[1:]
    images, draw = Images(), random.Random(1)
    began = time.perf_counter()
    read = {"mirage": mirage, "pandas": pandas, "json": whole_json}[reader](path)
    opened = time.perf_counter()
    wanted = [draw.randrange(int(count)) for _ in range(int(keys))]
    read(key(wanted[0]))
    first = time.perf_counter()
    found = [read(key(number)) == images.image(number) for number in wanted]
    ended = time.perf_counter()
    if not all(found):
        sys.exit("an image is another one")
    each = 1000 * (ended - first) / len(found)
    print(f"opened in {opened - began:.2f} s, first key {first - opened:.2f} s, each {each:.2f} ms")


if __name__ == "__main__":
    main()
