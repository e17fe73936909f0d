"""llama.cpp itself, as PyPI's xllamacpp has it inside."""

import json
import urllib.request

import numpy as np
import xllamacpp as llama_cpp


def log_softmax(logits):
    logits = logits.astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


class LlamaCpp:
    """A model in llama.cpp, on the CPU, with everything but the weights in F32."""

    def __init__(self, model, lora=None):
        given = llama_cpp.CommonParams()
        given.model.path = str(model)
        given.n_ctx, given.n_gpu_layers, given.n_parallel, given.warmup = 256, 0, 1, False
        given.cpuparams.n_threads, given.verbosity = 2, -1
        given.cache_type_k = given.cache_type_v = llama_cpp.ggml_type.GGML_TYPE_F32
        given.flash_attn_type = llama_cpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        if lora:
            given.lora_adapters = [llama_cpp.CommonAdapterLoraInfo(str(lora), 1.0)]
        self.server = llama_cpp.Server(given)

    def after(self, ids, vocabulary):
        """Log-probabilities [V] of what follows; the token drawn is an ordinary one, or none are told."""
        asked = {"prompt": [int(i) for i in ids], "n_predict": 1, "n_probs": vocabulary, "cache_prompt": False}
        answer = self.server.handle_completions({**asked, "logit_bias": [[8, 1000.0]]})
        told = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        assert len(told) == vocabulary
        found = np.empty(vocabulary)
        for token in told:
            found[token["id"]] = token["logprob"]
        return found

    def tokens(self, text, special=True):
        body = json.dumps({"content": text, "add_special": special, "parse_special": True}).encode()
        asked = urllib.request.Request(
            f"{self.server.listening_address}/tokenize", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked) as answer:
            return json.load(answer)["tokens"]

    def worst(self, ids, expected):
        """The largest difference from log-probabilities [T, V] that follow each of the tokens."""
        found = [self.after(ids[: t + 1], expected.shape[1]) for t in range(len(ids))]
        return np.abs(np.stack(found) - expected).max()
