#!/usr/bin/env python3
"""Golden files of the objective: given episodes, every advantage, weight, term and gradient norm.

Writes explain/: model/ (config.json, model.safetensors, tokenizer.json), episodes.jsonl,
expected.json. Values are numpy float64 (numpy_srft.py, own forward pass). Gradients are torch
float64 autograd with weights, advantages and old log-probabilities detached; torch's values are
held against numpy's, and its gradients against central differences of the numpy terms.

Readings of what the specification leaves open (the file is one batch; d demonstrations,
y rollouts, N_d and N_r their token counts, end-of-text included):

  right              reward > 0; decides the sign of the signed self term and `sft_gate=reward`
  demonstration      takes part in its group's advantage as the last member, with
                     "demonstration_reward" if the line has one, else 1
  advantage_std=off  A = r - mean; all-equal groups are exactly 0 either way
  entropy_over       sequence: a sequence's own token mean. token: each token's own entropy, so
                     w varies within a sequence. batch: the mean over all demonstration tokens
                     for w_SFT, over all rollout tokens (right and wrong) for w_RL
  w_sft, w_rl        the listed numbers are 0.5 exp(-+H), 0.1 exp(+H), for entropy_over=token the
                     mean of the tokens' weights. w_rl is listed for every rollout; the loss uses
                     it only where it is right (signed) or where A > 0 (advantage), else 1.
                     A gated demonstration lists its w_sft all the same
  self_term          advantage: -(1/N_r) sum w A rho, rho = exp(ln p - old), old = the current
                     policy, so rho = 1 and clipping is idle; the value is not zero, since
                     sequences differ in length and weight
  demo_shaping       -A f(p), f(p) = p/(p + 0.1), gradient through both p
  aggregate          token-mean: each term over N_d or N_r. sequence-mean: mean over the term's
                     sequences of the token mean. sum/8192: sum over tokens / 8192, each term
  sft_aggregate      the same of L_SFT alone; same: as aggregate
  sft_token_weight   p(1-p): each token of L_SFT times phi = p(1 - p) besides, detached; in the listed w_sft
  sft_gate           a gated demonstration adds 0 to the sum; N_d still counts its tokens
  entropy_coeff      -c times the aggregate of H_t over rollout tokens, gradient through H
  total              sft + rl_demo + self + entropy
  grad_norm          global L2 norm of each term's own gradient over all parameters, the tied
                     embedding counted once

    python tests/golden/make_explain.py
"""

import json
import pathlib

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM

import numpy_srft
from common import header, llama_f64, peaky
from numpy_srft import DEFAULT

FOLDER = pathlib.Path(__file__).parent / "explain"
CHARACTERS = "_^$0123456789+-*%=,;:>s"
PAD, BOS, EOS = 0, 1, 2

EPISODES = [
    {"prompt": "59+63=", "demonstration": "9+3=12,5+6+1=12>122", "episodes": [
        {"response": "9+3=12,5+6+1=12>122", "reward": 1.0},
        {"response": ">112", "reward": -1.0},
        {"response": "9+3=2,5+6=11>112", "reward": -1.0},
        {"response": "", "reward": -1.0}]},
    # Every reward equal: advantages exactly 0, the signed self term still pushes.
    {"prompt": "7*8=", "demonstration": "7*8=56>56", "episodes": [
        {"response": ">56", "reward": 1.0},
        {"response": "7*8=56>56", "reward": 1.0},
        {"response": "8*7=56>56", "reward": 1.0},
        {"response": "56>56", "reward": 1.0}]},
    # A wrong demonstration: its own advantage is negative.
    {"prompt": "s0186=", "demonstration": "0:186,1:86,6:8>0186", "demonstration_reward": -1.0, "episodes": [
        {"response": "0:186,1:86,6:8>0168", "reward": 1.0},
        {"response": ">0168", "reward": 1.0},
        {"response": ">8610", "reward": -1.0},
        {"response": "0:186;1%86-s>>", "reward": -1.0}]},
]

OFFICIAL = dict(entropy_over="token", sft_weight_sign="plus", self_term="advantage", demo_shaping="p/(p+0.1)",
                advantage_std=False, entropy_coeff=0.001)
HPT = dict(demo_shaping="p/(p+0.1)", advantage_std=False, aggregate="sum/8192", sft_aggregate="token-mean")
VARIANTS = {
    "srft": {},
    "srft-official": OFFICIAL,
    "srft-hpt": HPT,
    "srft-hpt,self_term=advantage": HPT | {"self_term": "advantage"},
    **{f"srft,{name}={value}": {name: value} for name, value in [
        ("entropy_over", "token"), ("entropy_over", "batch"), ("sft_weight_sign", "plus"),
        ("self_term", "advantage"), ("demo_shaping", "p/(p+0.1)"), ("advantage_std", False),
        ("aggregate", "sequence-mean"), ("aggregate", "sum/8192"), ("entropy_coeff", 0.001),
        ("sft_gate", "reward"), ("sft_gate", "advantage"), ("sft_aggregate", "sequence-mean"),
        ("sft_token_weight", "p(1-p)")]},
    # The batch's entropy counts every response, also those that the gate or a zero advantage leave out.
    "srft,entropy_over=batch,self_term=advantage,sft_gate=reward":
        dict(entropy_over="batch", self_term="advantage", sft_gate="reward"),
}


def write_model():
    folder = FOLDER / "model"
    folder.mkdir(parents=True, exist_ok=True)
    # A token a character; an unknown character is an error, not a silently dropped one.
    tokenizer = Tokenizer(models.WordLevel({c: i for i, c in enumerate(CHARACTERS)}, unk_token="<unknown>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(c, special=True, normalized=False) for c in "_^$"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="^:0 $A:0", pair="^:0 $A:0 $B:0", special_tokens=[("^", BOS)])
    tokenizer.save(str(folder / "tokenizer.json"))

    config = LlamaConfig(
        vocab_size=len(CHARACTERS), hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, head_dim=8, rms_norm_eps=1e-5,
        max_position_embeddings=64, tie_word_embeddings=True, bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    model = LlamaForCausalLM._from_config(config, attn_implementation="eager", dtype=torch.float32).eval()
    peaky(model, seed=7, std=0.3, head_std=0.45)
    weights = {k: v.detach().clone() for k, v in model.named_parameters()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    # The older spelling that most published checkpoints carry: rope_theta and torch_dtype on top
    # (llama-gqa/ and llama-tied/ have the newer rope_parameters and dtype).
    config = config.to_dict()
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    keep = ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
            "num_key_value_heads", "head_dim", "hidden_act", "rms_norm_eps", "rope_theta", "max_position_embeddings",
            "tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id"]
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float32",
              **{k: config[k] for k in keep}}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return Tokenizer.from_file(str(folder / "tokenizer.json")), config, model


def torch_terms(groups, stats, fixed, s):
    """The objective again, token by token in torch, with the same detached constants."""
    demos = sum(len(g["tokens"][-1]) for g in groups)
    rolled = sum(len(y) for g in groups for y in g["tokens"][:-1])
    out = {name: torch.zeros((), dtype=torch.float64) for name in ("sft", "rl_demo", "self", "entropy")}
    for group, members, f in zip(groups, stats, fixed):
        for m, (logp, entropy) in enumerate(members):
            demo = m == len(members) - 1
            count, sequences = (demos, len(groups)) if demo else (rolled, sum(len(g["tokens"]) - 1 for g in groups))
            scale = {"token-mean": 1 / count, "sequence-mean": 1 / (sequences * len(logp)), "sum/8192": 1 / 8192}
            sft_scale = scale[s["aggregate"] if s["sft_aggregate"] == "same" else s["sft_aggregate"]]
            scale, w, a = scale[s["aggregate"]], torch.tensor(f["weights"][m].copy()), float(f["advantages"][m])
            if demo:
                p = logp.exp()
                out["sft"] = out["sft"] - sft_scale * f["sft_gate"] * (w * logp).sum()
                out["rl_demo"] = out["rl_demo"] - scale * a * (p / (p + 0.1) if "p" in s["demo_shaping"] else p).sum()
                continue
            out["entropy"] = out["entropy"] - scale * s["entropy_coeff"] * entropy.sum()
            if s["self_term"] == "signed":
                term = -(w * logp).sum() if group["rewards"][m] > 0 else logp.sum()
            else:
                term = -a * ((w if a > 0 else 1.0) * (logp - logp.detach()).exp()).sum()
            out["self"] = out["self"] + scale * term
    out["total"] = sum(out.values())
    return out


def main():
    tokenizer, config, model = write_model()
    (FOLDER / "episodes.jsonl").write_text("".join(json.dumps(e, ensure_ascii=False) + "\n" for e in EPISODES))
    groups = []
    for line in EPISODES:
        prompt = tokenizer.encode(line["prompt"]).ids
        texts = [e["response"] for e in line["episodes"]] + [line["demonstration"]]
        tokens = [tokenizer.encode(t, add_special_tokens=False).ids + [EOS] for t in texts]
        assert prompt[0] == BOS and [tokenizer.decode(t) for t in tokens] == texts
        rewards = [e["reward"] for e in line["episodes"]] + [line.get("demonstration_reward", 1.0)]
        groups.append({"prompt": prompt, "tokens": tokens, "rewards": rewards})
    weights = {k: v.numpy().astype(np.float64) for k, v in load_file(FOLDER / "model/model.safetensors").items()}

    def statistics(weights):
        return [[numpy_srft.response_statistics(weights, config, g["prompt"], y) for y in g["tokens"]] for g in groups]

    stats = statistics(weights)

    # transformers reads the same files to the same log-probabilities.
    for group, members in zip(groups, stats):
        for y, (logp, _) in zip(group["tokens"], members):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([group["prompt"] + y]), use_cache=False).logits[0]
            theirs = logits.log_softmax(-1)[len(group["prompt"]) - 1 : -1].gather(-1, torch.tensor(y)[:, None])[:, 0]
            assert np.abs(theirs.numpy() - logp).max() < 1e-4

    leaves = {k: torch.tensor(v, requires_grad=True) for k, v in weights.items()}
    torch_stats = []
    for group in groups:
        members = []
        for y in group["tokens"]:
            logp = llama_f64(leaves, config, group["prompt"] + y)[len(group["prompt"]) - 1 : -1].log_softmax(-1)
            members.append((logp.gather(-1, torch.tensor(y)[:, None])[:, 0], -(logp.exp() * logp).sum(-1)))
        torch_stats.append(members)

    # Statistics at weights + h v and weights - h v, shared by every variant below.
    rng, h, directions = np.random.default_rng(11), 1e-5, []
    for _ in range(6):
        v = {k: rng.standard_normal(x.shape) for k, x in weights.items()}
        directions.append((v, *(statistics({k: x + sign * h * v[k] for k, x in weights.items()}) for sign in (1, -1))))

    variants, worst = {}, 0.0
    for name, changes in VARIANTS.items():
        s = DEFAULT | changes
        fixed = numpy_srft.constants(groups, stats, s)
        value = lambda at: numpy_srft.terms(groups, at, fixed, stats, s)
        here, theirs, norms = value(stats), torch_terms(groups, torch_stats, fixed, s), {}
        slopes = [(v, value(ahead), value(behind)) for v, ahead, behind in directions]
        for term, mine in here.items():
            assert abs(mine - theirs[term].item()) < 1e-12 * max(1, abs(mine)), (name, term)
            gradient = [torch.zeros_like(x) for x in leaves.values()]
            if theirs[term].requires_grad:
                gradient = torch.autograd.grad(theirs[term], leaves.values(), retain_graph=True)
            norms[term] = float(sum((g * g).sum() for g in gradient).sqrt())
            for v, ahead, behind in slopes:
                slope = (ahead[term] - behind[term]) / (2 * h)
                expected = sum(float((g.numpy() * v[k]).sum()) for k, g in zip(leaves, gradient))
                error = abs(slope - expected) / max(1e-3, norms[term])
                worst = max(worst, error)
                assert error < 1e-5, (name, term, slope, expected)
        variants[name] = {
            "switches": s,
            "prompts": [{
                "advantages": f["advantages"].tolist(),
                "entropy": [float(entropy.mean()) for _, entropy in members],
                "w_sft": float(f["weights"][-1].mean()),
                "w_rl": [float(w.mean()) for w in f["weights"][:-1]],
            } for f, members in zip(fixed, stats)],
            "terms": here,
            "grad_norm": norms,
        }
    different = len({json.dumps([v["terms"], v["grad_norm"]]) for v in variants.values()})
    assert different == len(variants), "two variants coincide: a switch does not show"

    expected = {
        **header("make_explain.py"),
        "finite_difference_worst": worst,
        "sequences": [{"prompt_tokens": g["prompt"], "rewards": g["rewards"], "members": [
            {"tokens": y, "logprobs": logp.tolist(), "entropies": entropy.tolist()}
            for y, (logp, entropy) in zip(g["tokens"], members)]} for g, members in zip(groups, stats)],
        "variants": variants,
    }
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    for name, v in variants.items():
        print(f"{name:32}", *(f"{t} {x:+.5f} |{v['grad_norm'][t]:.4f}|" for t, x in v["terms"].items()))
    print(f"entropies {[round(e, 2) for p in variants['srft']['prompts'] for e in p['entropy']]}")
    print(f"gradients agree with central differences within {worst:.1e}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    print(json.dumps(header("make_explain.py")["libraries"]))
    main()
