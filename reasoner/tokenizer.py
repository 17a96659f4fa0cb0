"""The tokenizer of the built-in reasoner: byte-level, with the fixed texts of a Diagnosis as single tokens.

A split by regular expression (longest fixed text first, then single characters) followed by a byte-level vocabulary
without merges. Numbers are always digit by digit with their delimiter apart, and the tokens of a written Diagnosis are
those of its pieces, one after the other. Any other text falls back to bytes. The special tokens are Qwen's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rnr.reasoner.grammar import vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>",
)  # fmt: skip
CHAT_TEMPLATE = (
    "{%- for message in messages %}<|im_start|>{{ message.role }}"
    "{%- if message.content is string %}{{ message.content }}{%- else %}{%- for part in message.content %}"
    "{%- if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{%- else %}{{ part.text }}{%- endif %}"
    "{%- endfor %}{%- endif %}<|im_end|>{%- endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant{%- endif %}"
)
WORDS = ("user", "assistant", "system")  # what the chat template writes, a token each


def byte_alphabet() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte (Radford et al. 2019), as the ByteLevel pre-tokenizer writes them."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def build_tokenizer(names: Sequence[str] | None = None, extra: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """A tokenizer for these kinds (all by default); `extra` texts, such as a prompt, become single tokens, too."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    bytes_ = byte_alphabet()
    chunks = sorted({*vocabulary(names), *WORDS, *extra}, key=lambda text: (-len(text), text))
    written = ["".join(bytes_[byte] for byte in text.encode()) for text in chunks]
    tokens = list(dict.fromkeys([*(bytes_[byte] for byte in range(256)), *written]))
    model = models.BPE({token: i for i, token in enumerate(tokens)}, [], ignore_merges=True)
    tokenizer = Tokenizer(model)
    pattern = "|".join(re.escape(text).replace("\\\n", "\\n") for text in chunks) + r"|[\s\S]"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=[token for token in SPECIAL if token not in ("<|im_end|>", "<|endoftext|>")],
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=32768,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
