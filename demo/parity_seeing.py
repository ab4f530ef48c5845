"""PyTorch and llama.cpp on the same pictures: `python parity_seeing.py OUT/checkpoint.pt FOLDER`.

Prints how often both give the same greedy answer, and how far the logarithms of the probabilities
of its tokens are apart. FOLDER holds the two GGUF files.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import lessons
import torch
from captions import TOKENS
from evaluate_seeing import data_url, start_server
from lessons import Lesson
from model import Shape
from padding import pixels
from pieces import ANSWER_OPEN, CONTROL, EOS, USER_OPEN
from seeing import IMAGE_TOKENS, EyeShape, Seeing
from torch import Tensor

LIMIT = 100


def load(checkpoint: Path) -> Seeing:
    """The trained model, with its weights rounded as the files hold them."""
    state: dict[str, Any] = torch.load(checkpoint, map_location="cpu")
    model = Seeing(EyeShape(**state["shapes"][0]), Shape(**state["shapes"][1]))
    model.load_state_dict(state["model"])
    for name, weight in model.named_parameters():
        if weight.ndim > 1 and "position" not in name:
            weight.data = weight.data.half().float()
    return model.eval()


@torch.no_grad()
def greedy(model: Seeing, lesson: Lesson, limit: int = LIMIT) -> tuple[list[int], list[float]]:
    """The answer's tokens, and the logarithm of each one's probability."""
    seen = model.eyes(torch.from_numpy(pixels(lesson.image).copy())[None])
    tokens = TOKENS.encode(USER_OPEN) + [-1] * IMAGE_TOKENS
    tokens += TOKENS.encode(lesson.prompt + ANSWER_OPEN)
    said: list[int] = []
    chances: list[float] = []
    while len(said) < limit:
        scores: Tensor = model.scores(seen, torch.tensor([tokens + said]))[0, -1].log_softmax(-1)
        best = int(scores.argmax())
        if best == CONTROL.index(EOS):
            break
        said.append(best)
        chances.append(float(scores[best]))
    return said, chances


def spoken(server: Any, lesson: Lesson, limit: int = LIMIT) -> tuple[str, list[float], int]:
    """llama.cpp's answer, its tokens' logarithms, and how many tokens the prompt had."""
    parts = [
        {"type": "image_url", "image_url": {"url": data_url(lesson.image)}},
        {"type": "text", "text": lesson.prompt},
    ]
    request = {"messages": [{"role": "user", "content": parts}], "temperature": 0}
    options = {"max_tokens": limit, "logprobs": True, "top_logprobs": 1}
    response = server.handle_chat_completions({**request, **options})
    choice = response["choices"][0]
    chances = [entry["logprob"] for entry in choice["logprobs"]["content"]]
    return choice["message"]["content"], chances, response["usage"]["prompt_tokens"]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=60)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load(args.checkpoint)
    server = start_server(args.folder / "seeing.gguf", args.folder / "seeing-mmproj.gguf", 1)
    found = lessons.held_out(args.count, 2)
    same, lengths, apart = 0, 0, []
    for lesson in found:
        said, ours = greedy(model, lesson)
        text, theirs, length = spoken(server, lesson)
        same += TOKENS.decode(said) == text
        asked = TOKENS.encode(lesson.prompt + ANSWER_OPEN)
        lengths += length == 1 + IMAGE_TOKENS + len(asked)
        apart += [abs(a - b) for a, b in zip(ours, theirs, strict=False)]
    apart.sort()
    print(f"same answer {same}/{len(found)}, same length of the prompt {lengths}/{len(found)}")
    print(f"logarithms apart: median {apart[len(apart) // 2]:.5f}, most {apart[-1]:.5f}")


if __name__ == "__main__":
    main()
