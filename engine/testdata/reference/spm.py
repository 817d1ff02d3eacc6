#!/usr/bin/env python3
"""Writes spm.gguf: a small vocabulary of the SentencePiece kind, without weights.

    spm.py models/smollm2-135m-instruct-q4_1.gguf engine/testdata/reference/spm.gguf

Its pieces are the first merges of the default model's vocabulary, each with its
rank as its score, so that pieces build on pieces as in a trained vocabulary; bytes
come as <0xNN>. It exists since the default model's own vocabulary is of the BPE kind.
"""
import sys

from gguf import GGUFReader, GGUFWriter, TokenType

PIECES = 3000
SPACE = "\u2581"
CHARACTERS = "éñüßжяλ你世界日本語한국"


def byte_of_symbol():
    """GPT-2's alphabet: every byte has a printable character."""
    shown = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    hidden = [b for b in range(256) if b not in shown]
    return {chr(b): b for b in shown} | {chr(256 + i): b for i, b in enumerate(hidden)}


def pieces(merges):
    alphabet, seen = byte_of_symbol(), {}
    for c in SPACE + "".join(map(chr, range(0x21, 0x7f))) + CHARACTERS:
        seen[c] = None
    for merge in merges:
        try:
            text = bytes(alphabet[c] for c in merge.replace(" ", "")).decode()
        except UnicodeDecodeError:
            continue  # a part of a character is no piece here
        seen.setdefault(text.replace(" ", SPACE))
        if len(seen) == PIECES:
            break
    return list(seen)


def main(source, target):
    fields = GGUFReader(source).fields
    special = [("<unk>", TokenType.UNKNOWN), ("<s>", TokenType.CONTROL), ("</s>", TokenType.CONTROL)]
    special += [(f"<0x{b:02X}>", TokenType.BYTE) for b in range(256)]
    special += [("<tool>", TokenType.USER_DEFINED), ("[INST]", TokenType.CONTROL), ("[/INST]", TokenType.CONTROL)]
    normal = pieces(fields["tokenizer.ggml.merges"].contents())

    w = GGUFWriter(target, "llama")
    w.add_name("spm")
    w.add_vocab_size(len(special) + len(normal))
    w.add_context_length(2048)
    w.add_embedding_length(64)
    w.add_block_count(1)
    w.add_feed_forward_length(64)
    w.add_head_count(1)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_tokenizer_model("llama")
    w.add_token_list([t for t, _ in special] + normal)
    w.add_token_scores([0.0] * len(special) + [-float(i) for i in range(len(normal))])
    w.add_token_types([k for _, k in special] + [TokenType.NORMAL] * len(normal))
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
