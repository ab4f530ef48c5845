"""Tiny checkpoints with random weights and a tokenizer trained on the spot: made in seconds.

A Llama, a LLaVA and an Idefics3, as folders that transformers loads; `gguf_copy` has the first two
as files that llama.cpp loads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

CONTEXT, PATCH, SIDE = 1024, 14, 56
PICTURE_TOKENS = (SIDE // PATCH) ** 2
TEXT = [
    "question answer explanation format the following text image caption describe",
    'The quick brown fox. {"question": "Q", "answer": true, "number": 0123456789}',
    "# Title\n\n- item one\n- item two\n\n**bold** What is the capital of France? Paris.",
]
TEMPLATE = """\
{% for m in messages %}<|im_start|>{{ m['role'] }}
{% if m['content'] is string %}{{ m['content'] }}{% else %}\
{% for part in m['content'] %}{% if part['type'] == 'image' %}<image>\
{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def tokenizer(*more: str) -> Any:
    """Byte-level BPE with the tokens of ChatML."""
    torch.manual_seed(0)  # for the weights that are made next
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|im_start|>", "<|im_end|>", *more]
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(TEXT * 20, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=made,
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|im_start|>", *more],
    )
    wrapped.chat_template = TEMPLATE
    return wrapped


def language(speaker: Any, hidden: int = 64, layers: int = 2) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(speaker),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        bos_token_id=None,
        eos_token_id=speaker.eos_token_id,
        pad_token_id=speaker.pad_token_id,
    )


def write_llama(folder: Path, hidden: int = 64, layers: int = 2, clear: bool = False) -> Path:
    speaker = tokenizer()
    _write(LlamaForCausalLM(language(speaker, hidden, layers)), speaker, folder, clear)
    return folder


def write_llava(folder: Path, clear: bool = False) -> Path:
    """A tower without class token (SigLIP): llama.cpp and transformers agree on those alone."""
    speaker = tokenizer("<image>")
    config = LlavaConfig(
        vision_config=transformers.SiglipVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=SIDE,
            patch_size=PATCH,
            hidden_act="gelu_pytorch_tanh",
            vision_use_head=False,
        ),
        text_config=language(speaker),
        image_token_index=speaker.convert_tokens_to_ids("<image>"),
        image_seq_length=PICTURE_TOKENS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        projector_hidden_act="gelu_pytorch_tanh",
    )
    images = transformers.SiglipImageProcessorPil(
        size={"height": SIDE, "width": SIDE},
        resample=3,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    processor = LlavaProcessor(
        image_processor=images,
        tokenizer=speaker,
        patch_size=PATCH,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        image_token="<image>",
        chat_template=TEMPLATE,
    )
    _write(LlavaForConditionalGeneration(config), processor, folder, clear)
    return folder


def write_idefics3(folder: Path) -> Path:
    more = ["<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>"]
    speaker = tokenizer(*more)
    config = Idefics3Config(
        text_config=language(speaker),
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 16,
        },
        image_token_id=speaker.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=speaker.pad_token_id,
    )
    images = transformers.Idefics3ImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 64}, do_image_splitting=False
    )
    processor = Idefics3Processor(
        image_processor=images, tokenizer=speaker, image_seq_len=4, chat_template=TEMPLATE
    )
    _write(Idefics3ForConditionalGeneration(config), processor, folder)
    return folder


def _write(model: Any, speaker: Any, folder: Path, clear: bool = False) -> None:
    """Weights larger than usual, so that the prompt decides. Where answers are to be `clear`, they
    are of uneven size where logits are made: the likeliest token then leads by more than rounding
    changes. Otherwise the end of a string and of an answer are likely.
    """
    torch.manual_seed(0 if clear else 1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(0.0, 0.3 if "vision" in name else 0.15)
        head = model.get_output_embeddings().weight
        if clear:
            head.mul_((1.5 * torch.randn(len(head), 1)).exp())
        else:
            words = getattr(speaker, "tokenizer", speaker)
            head[words.convert_tokens_to_ids('"')] *= 5
            head[words.eos_token_id] *= 4
    model.save_pretrained(folder)
    speaker.save_pretrained(folder)
