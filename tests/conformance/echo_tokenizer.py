"""Engine echo's tokens as a Hugging Face tokenizer: a UTF-8 byte each, its id 256 more."""

import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

OFFSET, WINDOW = 256, 8192


def byte_characters() -> dict[int, str]:
    """The characters that byte-level tokenizers write bytes as."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    moved = {byte: chr(256 + place) for place, byte in enumerate(others)}
    return {byte: chr(byte) for byte in plain} | moved


def main(folder: str) -> None:
    vocabulary = {text: byte + OFFSET for byte, text in byte_characters().items()}
    raw = Tokenizer(models.BPE(vocab={"<end>": 1, **vocabulary}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>", model_max_length=WINDOW)
    made.save_pretrained(folder)


main(sys.argv[1])
