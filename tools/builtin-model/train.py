"""Trains the built-in model and writes it as GGUF.

    python train.py --out semantic-builtin.gguf --exam exam.json --figures figures.json

A Llama of some million weights learns on one CPU thread to answer the questions that corpus.py
makes. Everything follows from --seed. See README.md.
"""

import argparse
import json
import os
import time

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import optax

import bpe
import corpus

VOCABULARY, WIDTH, LAYERS, HEADS, KV_HEADS, HIDDEN = 1536, 192, 5, 6, 2, 576
HEAD = WIDTH // HEADS
CONTEXT, BASE, EPSILON = 2048, 10000.0, 1e-5
TEMPLATE = (
    "{% set recent = messages[-5:] %}{% for message in recent %}"
    "{% if message['role'] == 'user' %}{{ '<|user|>' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}{{ '<|assistant|>' + message['content'] + '<|end|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def initial(rng):
    normal = lambda rows, cols, scale=1.0: jnp.asarray(rng.normal(0, scale / np.sqrt(rows), (rows, cols)), jnp.float32)
    layer = lambda: {
        "attn_norm": jnp.ones(WIDTH), "ffn_norm": jnp.ones(WIDTH),
        "attn_q": normal(WIDTH, WIDTH), "attn_k": normal(WIDTH, KV_HEADS * HEAD), "attn_v": normal(WIDTH, KV_HEADS * HEAD),
        "attn_output": normal(WIDTH, WIDTH, 0.5), "ffn_gate": normal(WIDTH, HIDDEN), "ffn_up": normal(WIDTH, HIDDEN),
        "ffn_down": normal(HIDDEN, WIDTH, 0.5),
    }
    return {"token_embd": jnp.asarray(rng.normal(0, 0.05, (VOCABULARY, WIDTH)), jnp.float32),
            "output_norm": jnp.ones(WIDTH), "blk": [layer() for _ in range(LAYERS)]}


def norm(x, w):
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + EPSILON) * w


def rotate(x):
    """Turns neighbouring elements by their position: x is [batch, time, heads, HEAD]."""
    angle = jnp.arange(x.shape[1])[:, None] * BASE ** (-jnp.arange(0, HEAD, 2) / HEAD)
    c, s = jnp.cos(angle)[None, :, None], jnp.sin(angle)[None, :, None]
    a, b = x[..., ::2], x[..., 1::2]
    return jnp.stack([a * c - b * s, a * s + b * c], -1).reshape(x.shape)


def forward(p, tokens):
    """What the last layer makes of tokens [batch, time]: [batch, time, WIDTH], normed."""
    b, t = tokens.shape
    mask = jnp.where(jnp.tril(jnp.ones((t, t), bool)), 0.0, -1e9)
    x = p["token_embd"][tokens]
    for w in p["blk"]:
        h = norm(x, w["attn_norm"])
        q = rotate((h @ w["attn_q"]).reshape(b, t, HEADS, HEAD))
        k = rotate((h @ w["attn_k"]).reshape(b, t, KV_HEADS, HEAD))
        v = (h @ w["attn_v"]).reshape(b, t, KV_HEADS, HEAD)
        k, v = jnp.repeat(k, HEADS // KV_HEADS, 2), jnp.repeat(v, HEADS // KV_HEADS, 2)
        a = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(HEAD) + mask, -1)
        x = x + jnp.einsum("bhqk,bkhd->bqhd", a, v).reshape(b, t, WIDTH) @ w["attn_output"]
        h = norm(x, w["ffn_norm"])
        x = x + (jax.nn.silu(h @ w["ffn_gate"]) * (h @ w["ffn_up"])) @ w["ffn_down"]
    return norm(x, p["output_norm"])


def loss(p, tokens, places):
    """Mean cross-entropy of the tokens at places, which number the answers' tokens row by row."""
    x = forward(p, tokens[:, :-1]).reshape(-1, WIDTH)[places]
    labels = tokens[:, 1:].reshape(-1)[places]
    return optax.softmax_cross_entropy_with_integer_labels(x @ p["token_embd"].T, labels).mean()


@jax.jit
def guesses(p, tokens):
    return jnp.argmax(forward(p, tokens[:, :-1]) @ p["token_embd"].T, -1)


def grade(p, tokenizer, questions):
    """The share of questions that get the whole right answer greedily, by kind. The engine's own
    test is the judge; this one, of weights that are not quantized yet, is for the curve."""
    right, asked = {}, {}
    for at in range(0, len(questions), 32):
        rows = [(q["kind"], *turn_tokens(tokenizer, q["question"], q["answer"])) for q in questions[at : at + 32]]
        tokens = np.zeros((32, 144), np.int32)
        for r, (_, t, _) in enumerate(rows):
            tokens[r, : len(t)] = t[:144]
        best = np.asarray(guesses(p, tokens))
        for r, (kind, t, a) in enumerate(rows):
            ok = all(best[r, i - 1] == t[i] for i in range(len(t)) if a[i])
            right[kind], asked[kind] = right.get(kind, 0) + ok, asked.get(kind, 0) + 1
    return {k: f"{right[k]}/{asked[k]}" for k in sorted(asked)} | {"share": round(sum(right.values()) / len(questions), 4)}


def turn_tokens(tokenizer, question, answer):
    """The tokens of a turn, and which are the answer's."""
    q = [bpe.USER, *tokenizer.encode(question), bpe.ASSISTANT]
    a = [*tokenizer.encode(answer), bpe.END]
    return q + a, [False] * len(q) + [True] * len(a)


class Turns:
    """Packs of turns: each row is one chat, as long as a row."""

    def __init__(self, tokenizer, rng):
        self.tokenizer, self.rng = tokenizer, rng
        self.topics, self.world = corpus.topics(), corpus.World()
        weights = np.array([3.0 if t.kind == "concept" else 1.0 for t in self.topics])
        self.cumulated = np.cumsum(weights / weights.sum())

    def turn(self):
        if self.rng.random() < 0.31:
            return corpus.vary(self.world.question(self.rng), self.rng), corpus.UNKNOWN
        t = self.topics[min(np.searchsorted(self.cumulated, self.rng.random()), len(self.topics) - 1)]
        return corpus.ask(t, self.rng), t.answer

    def batch(self, rows, length):
        """Tokens [rows, length], and the places of those that are answers."""
        tokens, answers = np.zeros((rows, length), np.int32), np.zeros((rows, length), bool)
        for r in range(rows):
            at = 0
            while at < length:
                t, a = turn_tokens(self.tokenizer, *self.turn())
                n = min(len(t), length - at)
                tokens[r, at : at + n], answers[r, at : at + n] = t[:n], a[:n]
                at += n
        places = np.flatnonzero(answers[:, 1:])
        most = rows * length * 5 // 8  # one shape for all steps
        return tokens, np.resize(self.rng.permutation(places), most).astype(np.int32)


def train(args, tokenizer, questions):
    rng = np.random.default_rng(args.seed)
    turns, p = Turns(tokenizer, rng), initial(rng)
    schedule = optax.warmup_cosine_decay_schedule(0, args.rate, 60, args.steps, args.rate * 0.02)
    optimizer = optax.contrib.muon(schedule, adam_learning_rate=lambda i: schedule(i) * 0.3, adam_b2=0.98, weight_decay=0.01)
    state = optimizer.init(p)

    @jax.jit
    def step(p, state, tokens, places):
        value, grads = jax.value_and_grad(loss)(p, tokens, places)
        updates, state = optimizer.update(grads, state, p)
        return optax.apply_updates(p, updates), state, value

    began, cpu, curve = time.time(), time.process_time(), []
    for i in range(args.steps):
        p, state, value = step(p, state, *turns.batch(args.rows, 161))
        if i % 25 == 0 or i == args.steps - 1:
            point = {"step": i, "loss": round(float(value), 4), "cpu_seconds": round(time.process_time() - cpu, 1)}
            if i % 200 == 0 and i or i == args.steps - 1:
                point["exam"] = grade(p, tokenizer, questions)
            curve.append(point)
            print(f"{time.time() - began:.0f} s", json.dumps(point), flush=True)
        if args.every and i % args.every == args.every - 1:
            write(p, tokenizer, args.out)
    return p, curve


def write(p, tokenizer, path):
    """Writes the model: matrices as Q8_0, norms as F32."""
    w = gguf.GGUFWriter(path, "llama")
    w.add_name("semantic-builtin")
    w.add_description("Answers questions on the Semantic pod; trained by tools/builtin-model of its repository.")
    w.add_license("Apache-2.0")
    w.add_size_label("2M")
    w.add_context_length(CONTEXT)
    w.add_embedding_length(WIDTH)
    w.add_block_count(LAYERS)
    w.add_feed_forward_length(HIDDEN)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV_HEADS)
    w.add_rope_dimension_count(HEAD)
    w.add_rope_freq_base(BASE)
    w.add_layer_norm_rms_eps(EPSILON)
    w.add_vocab_size(VOCABULARY)
    w.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list(tokenizer.tokens)
    w.add_token_types([3] * len(bpe.SPECIAL) + [1] * (len(tokenizer.tokens) - len(bpe.SPECIAL)))
    w.add_token_merges([f"{a} {b}" for a, b in tokenizer.merges])
    w.add_eos_token_id(bpe.END)
    w.add_bos_token_id(0)
    w.add_add_bos_token(False)
    w.add_chat_template(TEMPLATE)

    def matrix(name, m):
        q = gguf.quants.quantize(np.ascontiguousarray(np.asarray(m, np.float32)), gguf.GGMLQuantizationType.Q8_0)
        w.add_tensor(name, q, raw_dtype=gguf.GGMLQuantizationType.Q8_0)

    matrix("token_embd.weight", p["token_embd"])
    w.add_tensor("output_norm.weight", np.asarray(p["output_norm"]))
    for i, layer in enumerate(p["blk"]):
        for name, value in layer.items():
            if value.ndim == 1:
                w.add_tensor(f"blk.{i}.{name}.weight", np.asarray(value))
            else:
                matrix(f"blk.{i}.{name}.weight", value.T)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def vocabulary(seed):
    """The tokenizer, learnt from answers and from questions of the corpus."""
    rng = np.random.default_rng(seed + 1)
    topics, world = corpus.topics(), corpus.World()
    texts = [t.answer for t in topics] * 3 + [corpus.UNKNOWN] * 3
    texts += [corpus.ask(t, rng) for t in topics for _ in range(20)] + [world.question(rng) for _ in range(1500)]
    return bpe.Tokenizer(bpe.learn(texts, VOCABULARY))


def main():
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--out", required=True)
    flags.add_argument("--exam")
    flags.add_argument("--figures")
    flags.add_argument("--seed", type=int, default=7)
    flags.add_argument("--steps", type=int, default=3200)
    flags.add_argument("--rows", type=int, default=10)
    flags.add_argument("--rate", type=float, default=0.02)
    flags.add_argument("--every", type=int, default=0, help="also write the model every so many steps")
    args = flags.parse_args()
    questions = [{"kind": k, "question": q, "answer": a} for k, q, a in corpus.exam(np.random.default_rng(args.seed + 2))]
    if args.exam:
        with open(args.exam, "w") as f:
            json.dump(questions, f, indent=1, ensure_ascii=False)
            f.write("\n")
    questions = [q for q in questions if q["kind"] != "blind"]  # no training looks at those
    tokenizer = vocabulary(args.seed)
    cpu = time.process_time()
    p, curve = train(args, tokenizer, questions)
    write(p, tokenizer, args.out)
    weights = sum(x.size for x in jax.tree.leaves(p))
    if args.figures:
        with open(args.figures, "w") as f:
            json.dump({"weights": weights, "bytes": os.path.getsize(args.out), "steps": args.steps, "seed": args.seed,
                       "cpu_seconds": round(time.process_time() - cpu), "curve": curve}, f, indent=1)
            f.write("\n")


if __name__ == "__main__":
    main()
