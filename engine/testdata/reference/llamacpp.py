"""llama.cpp's C interface by ctypes, no more of it than the reference needs.

The libraries come from the npm package node-llama-cpp 3.22.1, which brings
llama.cpp v0.5.0 built for x86-64 in @node-llama-cpp/linux-x64; the structs below
are that version's (its source is in the same package: llama/gitRelease.bundle).
Another layout is noticed by `_check_layout`, not by wrong numbers.
"""
import ctypes as c
import glob
import os

import numpy as np

F32, F16 = 0, 1  # ggml_type, for the KV cache
FLASH_AUTO, FLASH_OFF = -1, 0
LLAMA_VERSION = "0.5.0-dev"  # what the release v0.5.0 calls itself
P = c.c_void_p


def _struct(name, *fields):
    return type(name, (c.Structure,), {"_fields_": list(fields)})


ModelParams = _struct(
    "ModelParams", ("devices", P), ("tensor_buft_overrides", P), ("n_gpu_layers", c.c_int32),
    ("split_mode", c.c_int), ("load_mode", c.c_int), ("lazy_mode", c.c_int), ("main_gpu", c.c_int32),
    ("tensor_split", P), ("progress_callback", P), ("progress_callback_user_data", P),
    ("kv_overrides", P), ("vocab_only", c.c_bool), ("check_tensors", c.c_bool),
    ("use_extra_bufts", c.c_bool), ("no_host", c.c_bool), ("no_alloc", c.c_bool), ("load_mtp", c.c_bool))

ContextParams = _struct(
    "ContextParams", ("n_ctx", c.c_uint32), ("n_batch", c.c_uint32), ("n_ubatch", c.c_uint32),
    ("n_seq_max", c.c_uint32), ("n_rs_seq", c.c_uint32), ("n_outputs_max", c.c_uint32),
    ("n_outputs_max_per_seq", c.c_uint32), ("n_threads", c.c_int32), ("n_threads_batch", c.c_int32),
    ("ctx_type", c.c_int), ("rope_scaling_type", c.c_int), ("pooling_type", c.c_int),
    ("attention_type", c.c_int), ("flash_attn_type", c.c_int), ("rope_freq_base", c.c_float),
    ("rope_freq_scale", c.c_float), ("yarn_ext_factor", c.c_float), ("yarn_attn_factor", c.c_float),
    ("yarn_beta_fast", c.c_float), ("yarn_beta_slow", c.c_float), ("yarn_orig_ctx", c.c_uint32),
    ("defrag_thold", c.c_float), ("cb_eval", P), ("cb_eval_user_data", P), ("type_k", c.c_int),
    ("type_v", c.c_int), ("abort_callback", P), ("abort_callback_data", P), ("embeddings", c.c_bool),
    ("offload_kqv", c.c_bool), ("no_perf", c.c_bool), ("op_offload", c.c_bool), ("swa_full", c.c_bool),
    ("kv_unified", c.c_bool), ("samplers", P), ("n_samplers", c.c_size_t), ("ctx_other", P))

Batch = _struct(
    "Batch", ("n_tokens", c.c_int32), ("token", P), ("embd", P), ("pos", P), ("n_seq_id", P),
    ("seq_id", P), ("logits", P))

# llama_model_kv_override: the union is 128 bytes and aligned to 8.
KVOverride = _struct(
    "KVOverride", ("tag", c.c_int), ("key", c.c_char * 128), ("_pad", c.c_char * 4), ("text", c.c_char * 128))
OVERRIDE_TEXT = 3


class Llama:
    """The loaded libraries."""

    def __init__(self, libs, cpu):
        def load(pattern):
            found = glob.glob(os.path.join(libs, pattern))
            if len(found) != 1:
                raise SystemExit(f"cannot find {pattern} in {libs}: give the folder of "
                                 "@node-llama-cpp/linux-x64 that holds libllama*.so by --libs")
            return c.CDLL(found[0], mode=c.RTLD_GLOBAL)

        load("libggml-base.so")
        self.ggml, self.lib = load("libggml.v*.so"), load("libllama.v*.so")
        self._declare()
        if cpu is None:  # the best for this machine, as llama.cpp chooses
            self.ggml.ggml_backend_load_all_from_path(libs.encode())
        elif not self.ggml.ggml_backend_load(os.path.join(libs, f"libggml-cpu-{cpu}.so").encode()):
            raise SystemExit(f"cannot load libggml-cpu-{cpu}.so: this CPU needs another --cpu")
        self._quiet = c.CFUNCTYPE(None, c.c_int, c.c_char_p, P)(lambda level, text, data: None)
        self.lib.llama_log_set(self._quiet, None)
        self._check_layout()
        self.lib.llama_backend_init()

    def _declare(self):
        self.ggml.ggml_backend_load.restype = P
        self.ggml.ggml_backend_load.argtypes = [c.c_char_p]
        self.ggml.ggml_backend_load_all_from_path.restype = None
        self.ggml.ggml_backend_load_all_from_path.argtypes = [c.c_char_p]
        for name, result, *arguments in (
                ("llama_version", c.c_char_p),
                ("llama_log_set", None, P, P),
                ("llama_backend_init", None),
                ("llama_model_default_params", ModelParams),
                ("llama_context_default_params", ContextParams),
                ("llama_model_load_from_file", P, c.c_char_p, ModelParams),
                ("llama_model_free", None, P),
                ("llama_model_get_vocab", P, P),
                ("llama_vocab_n_tokens", c.c_int32, P),
                ("llama_vocab_is_eog", c.c_bool, P, c.c_int32),
                ("llama_init_from_model", P, P, ContextParams),
                ("llama_free", None, P),
                ("llama_get_memory", P, P),
                ("llama_memory_clear", None, P, c.c_bool),
                ("llama_decode", c.c_int32, P, Batch),
                ("llama_synchronize", None, P),
                ("llama_get_logits_ith", c.POINTER(c.c_float), P, c.c_int32),
                ("llama_tokenize", c.c_int32, P, c.c_char_p, c.c_int32, P, c.c_int32, c.c_bool, c.c_bool),
                ("llama_token_to_piece", c.c_int32, P, c.c_int32, c.c_char_p, c.c_int32, c.c_int32, c.c_bool)):
            function = getattr(self.lib, name)
            function.restype, function.argtypes = result, arguments

    def _check_layout(self):
        version = self.lib.llama_version().decode()
        d = self.lib.llama_context_default_params()
        m = self.lib.llama_model_default_params()
        seen = (version, d.n_ctx, d.n_batch, d.type_k, d.type_v, d.flash_attn_type, d.n_samplers,
                m.use_extra_bufts, m.vocab_only)
        if seen != (LLAMA_VERSION, 512, 2048, F16, F16, FLASH_AUTO, 0, True, False):
            raise SystemExit(f"cannot use this llama.cpp, its structs are not those of v{LLAMA_VERSION}: {seen}")


class Model:
    def __init__(self, llama, path, vocab_only=False, pre=None):
        self.lib = llama.lib
        params = self.lib.llama_model_default_params()
        params.vocab_only = vocab_only
        if pre:
            overrides = (KVOverride * 2)()  # ends with an empty key
            overrides[0].tag, overrides[0].key, overrides[0].text = OVERRIDE_TEXT, b"tokenizer.ggml.pre", pre.encode()
            params.kv_overrides = c.cast(overrides, P)
        self.handle = self.lib.llama_model_load_from_file(os.fspath(path).encode(), params)
        if not self.handle:
            raise SystemExit(f"cannot load {path}")
        self.vocab = self.lib.llama_model_get_vocab(self.handle)
        self.n_vocab = self.lib.llama_vocab_n_tokens(self.vocab)

    def tokenize(self, text, special, add_special=False):
        data = text if isinstance(text, bytes) else text.encode()
        ids = np.empty(len(data) + 16, np.int32)
        n = self.lib.llama_tokenize(self.vocab, data, len(data), ids.ctypes.data, len(ids), add_special, special)
        if n < 0:
            raise SystemExit(f"cannot tokenize {data[:40]!r}: {n}")
        return ids[:n].tolist()

    def piece(self, token):
        out = c.create_string_buffer(512)
        n = self.lib.llama_token_to_piece(self.vocab, token, out, len(out), 0, True)
        return out.raw[:n]

    def ends(self, token):
        return self.lib.llama_vocab_is_eog(self.vocab, token)

    def close(self):
        self.lib.llama_model_free(self.handle)


class Context:
    """One sequence. kv is the type of the KV cache; flash as llama.cpp's default or off."""

    def __init__(self, model, kv, flash, n_ctx=512, threads=2):
        self.lib, self.model = model.lib, model
        p = self.lib.llama_context_default_params()
        p.n_ctx, p.n_batch, p.n_ubatch = n_ctx, n_ctx, n_ctx
        p.n_threads = p.n_threads_batch = threads
        p.type_k = p.type_v = kv
        p.flash_attn_type = flash
        self.handle = self.lib.llama_init_from_model(model.handle, p)
        if not self.handle:
            raise SystemExit("cannot make a context")
        self.used = 0

    def decode(self, ids, every=False):
        """Appends ids; returns the logits after each of them, or after the last alone."""
        n = len(ids)
        token = np.asarray(ids, np.int32)
        pos = np.arange(self.used, self.used + n, dtype=np.int32)
        count, sequence = np.ones(n, np.int32), np.zeros(1, np.int32)
        sequences = np.full(n, sequence.ctypes.data, np.uint64)
        wanted = np.zeros(n, np.int8)
        wanted[0 if every else n - 1:] = 1
        batch = Batch(n, token.ctypes.data, None, pos.ctypes.data, count.ctypes.data,
                      sequences.ctypes.data, wanted.ctypes.data)
        if code := self.lib.llama_decode(self.handle, batch):
            raise SystemExit(f"cannot decode {n} tokens at {self.used}: {code}")
        self.used += n
        rows = [self.lib.llama_get_logits_ith(self.handle, int(i)) for i in np.flatnonzero(wanted)]
        return np.stack([np.ctypeslib.as_array(r, (self.model.n_vocab,)).copy() for r in rows])

    def clear(self):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.handle), True)
        self.used = 0

    def close(self):
        self.lib.llama_free(self.handle)
