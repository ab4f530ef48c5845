"""Tiny models with random weights, made in milliseconds: what llama.cpp loads in the tests."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

WIDTH, HEADS, LAYERS, INNER, CONTEXT = 32, 2, 1, 64, 512
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_tokens() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes, in order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b if b in printable else next(others)) for b in range(256)]


def write_model(path: Path, seed: int = 0) -> Path:
    """A one-layer Llama over bytes, with ChatML as its template."""
    rng = np.random.default_rng(seed)
    tokens = SPECIAL + byte_tokens()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    kinds = [gguf.TokenType.CONTROL] * len(SPECIAL) + [gguf.TokenType.NORMAL] * 256
    writer.add_token_types(kinds)
    writer.add_token_merges(["t h"])
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)

    def weight(name: str, *shape: int) -> None:
        drawn = rng.standard_normal(shape) / np.sqrt(shape[-1])
        writer.add_tensor(name, drawn.astype(np.float32))

    weight("token_embd.weight", len(tokens), WIDTH)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for block in (f"blk.{i}." for i in range(LAYERS)):
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{block}{norm}.weight", np.ones(WIDTH, np.float32))
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            weight(f"{block}{part}.weight", WIDTH, WIDTH)
        weight(f"{block}ffn_gate.weight", INNER, WIDTH)
        weight(f"{block}ffn_up.weight", INNER, WIDTH)
        weight(f"{block}ffn_down.weight", WIDTH, INNER)
    _finish(writer)
    return path


def write_projector(path: Path, seed: int = 1) -> Path:
    """A one-block vision tower (28 px, patches of 14: 4 tokens per picture) and its projector."""
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_bool("clip.has_text_encoder", False)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", True)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    sizes = {"image_size": 28, "patch_size": 14, "embedding_length": WIDTH, "block_count": 1}
    sizes |= {"feed_forward_length": INNER, "projection_dim": WIDTH, "attention.head_count": HEADS}
    for key, value in sizes.items():
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_array("clip.vision.feature_layer", [1])
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])

    def tensor(name: str, *shape: int) -> None:
        writer.add_tensor(name, (rng.standard_normal(shape) * 0.3).astype(np.float32))

    tensor("v.patch_embd.weight", WIDTH, 3, 14, 14)
    tensor("v.position_embd.weight", 4, WIDTH)
    for part, shape in {
        "attn_q": (WIDTH, WIDTH),
        "attn_k": (WIDTH, WIDTH),
        "attn_v": (WIDTH, WIDTH),
        "attn_out": (WIDTH, WIDTH),
        "ffn_up": (INNER, WIDTH),
        "ffn_down": (WIDTH, INNER),
    }.items():
        tensor(f"v.blk.0.{part}.weight", *shape)
        tensor(f"v.blk.0.{part}.bias", shape[0])
    for norm in ("ln1", "ln2"):
        writer.add_tensor(f"v.blk.0.{norm}.weight", np.ones(WIDTH, np.float32))
        writer.add_tensor(f"v.blk.0.{norm}.bias", np.zeros(WIDTH, np.float32))
    for layer in ("mm.0", "mm.2"):
        tensor(f"{layer}.weight", WIDTH, WIDTH)
        tensor(f"{layer}.bias", WIDTH)
    _finish(writer)
    return path


def _finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
