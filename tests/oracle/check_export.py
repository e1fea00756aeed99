#!/usr/bin/env python3
"""Checks that an exported model means the same to Hugging Face transformers as to us.

    check_export.py DIRECTORY EXPECTED.json

DIRECTORY is an export (`config.json`, safetensors, perhaps `tokenizer.json`). EXPECTED.json is what the exporting side says:

    {"rows": [{"tokens": [...],         T token ids
               "logits": [...],         optional: T * V numbers
               "logLikelihood": x,      optional: sum of log p(token t | tokens before t), t >= 1
               "greedy": [...],         optional: what greedy decoding appends
               "text": "..."}, ...]}    optional: the text that our tokenizer made the tokens of

Prints one line of JSON and exits 1 unless no weight is missing or left over, logits and log-likelihoods agree to 1e-4 of the
largest, decoding appends the same tokens, and the tokenizer, where one was exported, makes the same tokens and gives the text
back. Needs torch and transformers 4.30 or later.
"""
import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TOLERANCE = 1e-4


def relative(ours, theirs):
    ours = torch.tensor(ours, dtype=torch.float64).reshape(theirs.shape)
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@torch.no_grad()
def check_model(model, rows):
    for i, row in enumerate(rows):
        tokens = torch.tensor(row["tokens"])
        logits = model(tokens[None]).logits[0].double()
        if "logits" in row and not (error := relative(row["logits"], logits)) <= TOLERANCE:
            yield f"row {i}: logits differ by {error} of the largest"
        if "logLikelihood" in row:
            likelihood = logits[:-1].log_softmax(-1).gather(1, tokens[1:, None]).sum()
            if not (error := relative([row["logLikelihood"]], likelihood)) <= TOLERANCE:
                yield f"row {i}: log-likelihood {row['logLikelihood']}, but transformers finds {likelihood.item()}"
        if "greedy" in row:
            new = model.generate(tokens[None], attention_mask=torch.ones_like(tokens)[None], max_new_tokens=len(row["greedy"]),
                                 min_new_tokens=len(row["greedy"]), do_sample=False, pad_token_id=0)[0, len(tokens):].tolist()
            if new != row["greedy"]:
                yield f"row {i}: decoding appends {row['greedy']}, but with transformers {new}"


def check_tokenizer(tokenizer, rows):
    for i, row in enumerate(rows):
        if "text" in row:
            ids = tokenizer.encode(row["text"], add_special_tokens=False)
            if ids != row["tokens"]:
                yield f"row {i}: the exported tokenizer makes {ids}, ours {row['tokens']}"
            if (back := tokenizer.decode(ids, clean_up_tokenization_spaces=False)) != row["text"]:
                yield f"row {i}: the exported tokenizer gives back {back!r}"


def main(directory, rows):
    model, loading = AutoModelForCausalLM.from_pretrained(directory, output_loading_info=True)
    problems = [f"{key}: {sorted(loading[key])}" for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if loading[key]]
    problems += check_model(model.eval(), rows)
    has_tokenizer = (Path(directory) / "tokenizer.json").exists()
    if has_tokenizer:
        problems += check_tokenizer(AutoTokenizer.from_pretrained(directory), rows)
    print(json.dumps(dict(model=type(model).__name__, parameters=sum(p.numel() for p in model.parameters()), rows=len(rows),
                          tokenizer=has_tokenizer, problems=problems)))
    return 1 if problems else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: check_export.py DIRECTORY EXPECTED.json")
    sys.exit(main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text())["rows"]))
