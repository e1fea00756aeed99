#!/usr/bin/env python3
"""Checks that an exported model means the same to Hugging Face transformers as to us.

    check_export.py DIRECTORY EXPECTED.json

DIRECTORY is an export (`config.json`, safetensors, perhaps `tokenizer.json`). EXPECTED.json is what the exporting side says:

    {"tokens": [[...], ...],       B rows of T token ids
     "logits": [...],              B * T * V numbers, row by row
     "text": "...", "ids": [...]}  optional: a text and the ids that our tokenizer makes of it

Prints one line of JSON and exits 1 unless no weight is missing or left over, the logits agree to 1e-4 of the largest, and the
tokenizer, where one was exported, makes the same ids and gives the text back. Works with transformers 4.30 and later.
"""
import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TOLERANCE = 1e-4


def main(directory, expected):
    model, loading = AutoModelForCausalLM.from_pretrained(directory, output_loading_info=True)
    model.eval()
    with torch.no_grad():
        logits = model(torch.tensor(expected["tokens"])).logits.double()
    ours = torch.tensor(expected["logits"], dtype=torch.float64).reshape(logits.shape)
    result = dict(model=type(model).__name__, parameters=sum(p.numel() for p in model.parameters()),
                  missing=sorted(loading["missing_keys"]), unexpected=sorted(loading["unexpected_keys"]),
                  logitsSum=logits.sum().item(), logitsError=((logits - ours).abs().max() / logits.abs().max()).item())
    problems = [f"{key} weights: {result[key]}" for key in ("missing", "unexpected") if result[key]]
    if not result["logitsError"] <= TOLERANCE:
        problems.append(f"logits differ by {result['logitsError']} of the largest")
    if (Path(directory) / "tokenizer.json").exists() and "text" in expected:
        tokenizer = AutoTokenizer.from_pretrained(directory)
        ids = tokenizer.encode(expected["text"], add_special_tokens=False)
        back = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        result["tokenizer"] = type(tokenizer).__name__
        if ids != expected["ids"]:
            problems.append(f"the tokenizer makes {ids[:20]}..., ours {expected['ids'][:20]}...")
        if back != expected["text"]:
            problems.append(f"the tokenizer gives back {back[:80]!r}")
    print(json.dumps(dict(result, problems=problems)))
    return 1 if problems else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: check_export.py DIRECTORY EXPECTED.json")
    sys.exit(main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text())))
