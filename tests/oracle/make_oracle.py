#!/usr/bin/env python3
"""Makes the oracles: what Hugging Face transformers and PyTorch compute for small random models.

Run (only to change the oracle; its output is committed):

    python3 -m venv VENV && VENV/bin/pip install torch==2.13.0 transformers==5.23.0 safetensors==0.8.0
    VENV/bin/python tests/oracle/make_oracle.py tests/src/test/resources/parity [CASE ...]

Each case, all where none is named, is a directory FAMILY/CASE with the checkpoint as `save_pretrained` writes it (`config.json`, safetensors) and
`expected.safetensors`, all fp32 and int32, dropout 0. B batch, T tokens, V vocabulary, S = 10 steps; NAME is the parameter's
name in transformers' model (`transformer.h.0.attn.c_attn.weight`, `model.layers.0.self_attn.q_proj.weight`, and for Mixtral, whose
files hold each expert's, all experts' `model.layers.0.mlp.experts.gate_up_proj` [E, 2 F, D]; a tied head has no name of its own).

    inputs, targets           [B, T]     targets are the inputs one token later
    logits                    [B, T, V]  of the inputs
    loss                      [1]        mean cross-entropy over all B * T targets, natural logarithm
    grad.NAME                            of that loss, before any clipping
    steps.inputs, .targets    [S, B, T]  a fresh batch for each training step
    steps.loss, .gradNorm     [S]        before the step's update; the norm is the one before clipping
    steps.weight.NAME                    after S steps of clip_grad_norm_ and AdamW (settings: JSON in the file's metadata);
                                         decay falls on tensors of two dimensions, not on biases and norms
    prompt.I, greedy.I        [n], [12]  a prompt and the tokens that greedy decoding appends
    score.tokens.I, score.I   [n], [1]   a sequence and its log-likelihood: sum of log p(token t | tokens before t), t >= 1

What fp32 leaves open: a key's bias adds the same number to all scores of a query, so its true gradient is 0 and what AdamW
makes of the rounding noise is arbitrary. `steps.weight.*.c_attn.bias`[D : 2 D] is therefore no oracle, and its gradient is one
only in absolute terms. The script runs all cases in fp64 too and refuses to write when fp32 strays elsewhere. (Llama's norms and
rotary angles stay fp32 in transformers even then.)
"""
import copy
import json
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM

STEPS = 10
LEARNING_RATE, BETAS, EPSILON, WEIGHT_DECAY, MAX_NORM = 1e-3, (0.9, 0.95), 1e-8, 0.1, 1.0
NEW_TOKENS = 12


@dataclass
class Case:
    family: str
    name: str
    seed: int
    batch: int
    tokens: int
    config: dict
    prompts: tuple = (3, 7)
    scored: tuple = (2, 9, 14)
    save: dict = field(default_factory=dict)
    bare: bool = False  # names without `transformer.` or `model.`, as the published GPT-2 checkpoints have them


CASES = (
    Case("gpt2", "heads3", 2, 2, 11, dict(n_layer=2, n_head=3, n_embd=24, vocab_size=61, n_positions=20)),
    Case("gpt2", "inner40", 1, 3, 24, dict(n_layer=3, n_head=2, n_embd=16, n_inner=40, vocab_size=50, n_positions=24,
                                           activation_function="gelu_new", layer_norm_epsilon=1e-5, scale_attn_weights=True)),
    # One head, a width that fills no vector register, exact GELU, another epsilon, bare names, several files with an index.
    Case("gpt2", "bare-sharded", 11, 1, 5, dict(n_layer=1, n_head=1, n_embd=10, vocab_size=29, n_positions=33,
                                               activation_function="gelu", layer_norm_epsilon=1e-3),
         prompts=(1, 20), scored=(2, 33), save=dict(max_shard_size="3KB"), bare=True),
    # H K other than D, three queries a key, Llama 3.1's frequencies with pairs in all three of its bands.
    Case("llama", "llama3", 5, 2, 12, dict(num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2, head_dim=10,
                                          hidden_size=24, intermediate_size=34, vocab_size=61, max_position_embeddings=40,
                                          rms_norm_eps=1e-5, tie_word_embeddings=False,
                                          rope_parameters=dict(rope_type="llama3", rope_theta=500.0, factor=4.0,
                                                               low_freq_factor=1.0, high_freq_factor=4.0,
                                                               original_max_position_embeddings=20)),
         prompts=(3, 25), scored=(2, 9, 40)),
    # As many keys as queries, a tied head, interpolated positions, bare names, several files with an index.
    Case("llama", "tied-linear", 4, 3, 10, dict(num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4, hidden_size=16,
                                               intermediate_size=26, vocab_size=45, max_position_embeddings=32,
                                               rms_norm_eps=1e-3, tie_word_embeddings=True,
                                               rope_parameters=dict(rope_type="linear", rope_theta=1e4, factor=2.5)),
         save=dict(max_shard_size="8KB"), bare=True),
    Case("mistral", "one-key", 1, 2, 9, dict(num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1, hidden_size=18,
                                            intermediate_size=22, vocab_size=37, max_position_embeddings=24, sliding_window=None)),
    Case("mixtral", "four-experts", 1, 2, 12, dict(num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                                                  hidden_size=20, head_dim=6, intermediate_size=14, vocab_size=53,
                                                  max_position_embeddings=24, num_local_experts=4, num_experts_per_tok=2)),
)


def random_model(case, generator):
    """Weights that make every term matter: no zero bias, no unit gain, scores and logits of order one."""
    no_dropout = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0) if case.family == "gpt2" else {}
    config = AutoConfig.for_model(case.family, **case.config, **no_dropout, bos_token_id=None, eos_token_id=None)
    experts = dict(experts_implementation="eager") if case.family == "mixtral" else {}
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", **experts).float()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            norm_gain = parameter.dim() == 1 and name.endswith("weight")
            parameter.copy_(1 + 0.3 * noise if norm_gain else 0.25 * noise)
    return model


def sample(case, generator):
    rows = torch.randint(case.config["vocab_size"], (case.batch, case.tokens + 1), generator=generator)
    return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


def loss_of(model, inputs, targets):
    logits = model(inputs).logits
    return logits, cross_entropy(logits.flatten(0, 1), targets.flatten())


def train(model, batches):
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [dict(params=decayed, weight_decay=WEIGHT_DECAY), dict(params=others, weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS, eps=EPSILON)
    losses, norms = [], []
    for inputs, targets in batches:
        optimizer.zero_grad()
        _, loss = loss_of(model, inputs, targets)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM).item())
        losses.append(loss.item())
        optimizer.step()
    return losses, norms


def greedy(model, prompt):
    """Plain decoding without a cache; a near tie would make the oracle depend on rounding."""
    tokens = prompt.clone()
    for _ in range(NEW_TOKENS):
        best, second = model(tokens[None]).logits[0, -1].topk(2).values.tolist()
        assert best - second > 1e-3, f"near tie: choose another seed ({best}, {second})"
        tokens = torch.cat([tokens, model(tokens[None]).logits[0, -1].argmax()[None]])
    # A single prompt has nothing to pad: its mask is all ones.
    mask = torch.ones_like(prompt)[None]
    library = model.generate(prompt[None], attention_mask=mask, max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0)[0]
    assert torch.equal(library, tokens), "transformers' own generate disagrees"
    return tokens[len(prompt):]


def score(model, tokens):
    log_probabilities = model(tokens[None]).logits[0, :-1].log_softmax(-1)
    return log_probabilities.gather(1, tokens[1:, None]).sum()


def expectations(model, case, seed):
    generator = torch.Generator().manual_seed(seed)
    inputs, targets = sample(case, generator)
    batches = [sample(case, generator) for _ in range(STEPS)]
    out = dict(inputs=inputs, targets=targets)
    logits, loss = loss_of(model, inputs, targets)
    loss.backward()
    out |= dict(logits=logits.detach(), loss=loss.detach()[None])
    out |= {f"grad.{name}": p.grad.clone() for name, p in model.named_parameters()}
    with torch.no_grad():
        for i, length in enumerate(case.prompts):
            out[f"prompt.{i}"] = torch.randint(case.config["vocab_size"], (length,), generator=generator)
            out[f"greedy.{i}"] = greedy(model, out[f"prompt.{i}"])
        for i, length in enumerate(case.scored):
            out[f"score.tokens.{i}"] = torch.randint(case.config["vocab_size"], (length,), generator=generator)
            out[f"score.{i}"] = score(model, out[f"score.tokens.{i}"])[None]
    losses, norms = train(model, batches)
    out |= {"steps.inputs": torch.stack([b[0] for b in batches]), "steps.targets": torch.stack([b[1] for b in batches]),
            "steps.loss": torch.tensor(losses, dtype=torch.float64), "steps.gradNorm": torch.tensor(norms, dtype=torch.float64)}
    out |= {f"steps.weight.{name}": p.detach().clone() for name, p in model.named_parameters()}
    return out


def worst_deviation(single, double, width):
    """Largest |fp32 - fp64| relative to the tensor's largest value, over all but the key biases; integers must agree."""
    worst = 0.0
    for name, exact in double.items():
        if not exact.is_floating_point():
            assert torch.equal(single[name], exact), f"{name}: fp32 and fp64 choose different tokens"
            continue
        difference = (single[name].double() - exact).abs()
        if name.endswith("c_attn.bias"):
            difference[width:2 * width] = 0
        worst = max(worst, (difference.max() / exact.abs().max()).item())
    return worst


def write(case, root):
    generator = torch.Generator().manual_seed(case.seed)
    model = random_model(case, generator)
    target = root / case.family / case.name
    (model.base_model if case.bare else model).save_pretrained(target, **case.save)
    (target / "generation_config.json").unlink(missing_ok=True)
    double = expectations(copy.deepcopy(model).double(), case, case.seed + 1000)
    single = expectations(model, case, case.seed + 1000)
    deviation = worst_deviation(single, double, model.config.hidden_size)
    assert deviation < 2e-5, f"{case.name}: fp32 strays by {deviation} from fp64: choose another seed"
    assert all(len(set(single[f'greedy.{i}'].tolist())) > 3 for i in range(len(case.prompts))), f"{case.name}: dull text"
    settings = dict(learningRate=LEARNING_RATE, beta1=BETAS[0], beta2=BETAS[1], epsilon=EPSILON, weightDecay=WEIGHT_DECAY,
                    maxNorm=MAX_NORM, torch=torch.__version__, transformers=transformers.__version__)
    stored = {name: v.float() if v.is_floating_point() else v.int() for name, v in single.items()}
    save_file({name: v.contiguous() for name, v in stored.items()}, target / "expected.safetensors",
              metadata={"settings": json.dumps(settings)})  # one entry: the writer does not keep the order of several
    print(f"{case.name}: loss {single['loss'].item():.6f} (ln V = {math.log(case.config['vocab_size']):.3f}), "
          f"grad norms {[round(n, 2) for n in single['steps.gradNorm'].tolist()]}, "
          f"greedy {single['greedy.0'].tolist()}, worst fp32 deviation {deviation:.1e}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: make_oracle.py DIRECTORY [CASE ...]")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for each in CASES:
        if len(sys.argv) == 2 or each.name in sys.argv[2:]:
            write(each, Path(sys.argv[1]))
