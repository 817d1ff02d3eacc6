"""A byte-level BPE vocabulary: GPT-2's picture of bytes, words cut as the pre-tokenizer "smollm" cuts
them (each digit alone, then GPT-2's pattern), merges learnt from a corpus."""

import collections
import re
import unicodedata

SPECIAL = ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"]
USER, ASSISTANT, END = 1, 2, 3


def byte_picture():
    keep = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in keep]
    return {b: chr(b) for b in keep} | {b: chr(256 + i) for i, b in enumerate(rest)}


PICTURE = byte_picture()
CONTRACTION = re.compile(r"'(?:s|t|re|ve|m|ll|d)")


def kind(c):
    category = unicodedata.category(c)[0]
    return {"L": "letter", "N": "number"}.get(category, "space" if c.isspace() else "other")


def words(text):
    """The words of a text, each as the picture of its bytes."""
    out, i = [], 0
    while i < len(text):
        j = i
        if kind(text[i]) == "number":
            j = i + 1
        elif m := CONTRACTION.match(text, i):
            j = m.end()
        else:
            start = i
            if text[i] == " " and i + 1 < len(text) and kind(text[i + 1]) in ("letter", "other"):
                start = i + 1
            k = kind(text[start])
            j = start + 1
            while j < len(text) and kind(text[j]) == k:
                j += 1
            # White space leaves its last character to the word that follows, but not to a number.
            if k == "space" and j - i > 1 and j < len(text) and kind(text[j]) != "number":
                j -= 1
        out.append("".join(PICTURE[b] for b in text[i:j].encode()))
        i = j
    return out


class Tokenizer:
    """Turns text into tokens by merges in the order in which they were learnt."""

    def __init__(self, merges):
        self.merges = merges
        self.tokens = SPECIAL + [PICTURE[b] for b in range(256)]
        for a, b in merges:
            self.tokens.append(a + b)
        self.ids = {t: i for i, t in enumerate(self.tokens)}
        self.ranks = {m: i for i, m in enumerate(merges)}
        self.known = {}

    def word(self, w):
        if w in self.known:
            return self.known[w]
        parts = list(w)
        while len(parts) > 1:
            rank, i = min((self.ranks.get(p, 1 << 30), i) for i, p in enumerate(zip(parts, parts[1:])))
            if rank == 1 << 30:
                break
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        self.known[w] = [self.ids[p] for p in parts]
        return self.known[w]

    def encode(self, text):
        return [t for w in words(text) for t in self.word(w)]


def learn(texts, size):
    """Merges until there are so many tokens; among equally frequent pairs the first in order."""
    counts = collections.Counter(w for t in texts for w in words(t))
    parts = {w: list(w) for w in counts}
    merges, seen = [], set()
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for w, p in parts.items():
        for q in zip(p, p[1:]):
            pairs[q] += counts[w]
            where[q].add(w)
    while len(SPECIAL) + 256 + len(merges) < size and pairs:
        best = max(pairs, key=lambda q: (pairs[q], q))
        if pairs[best] < 2:
            break
        for w in sorted(where[best]):
            p = parts[w]
            for q in zip(p, p[1:]):
                pairs[q] -= counts[w]
            i = 0
            while i < len(p) - 1:
                if (p[i], p[i + 1]) == best:
                    p[i : i + 2] = [p[i] + p[i + 1]]
                i += 1
            for q in zip(p, p[1:]):
                pairs[q] += counts[w]
                where[q].add(w)
        del pairs[best]
        if "".join(best) not in seen:
            seen.add("".join(best))
            merges.append(best)
    return merges
