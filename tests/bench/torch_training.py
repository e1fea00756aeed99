#!/usr/bin/env python3
"""The rival of `bin/bench training --torch`: one fp32 GPT-2 training step in PyTorch, as fast as PyTorch does it on a CPU.

    torch_training.py --shape gpt2-124m-t64|gpt2-124m-t256|small --threads N [--ddp R] [--steps S] [--plain-malloc] [--mkl-avx512]

A step is forward (fused causal attention, tied head, tanh GELU, mean cross-entropy), backward, clipping of the gradients'
global norm to 1 and fused AdamW. Two warm-up steps, then S timed ones. Prints one line of JSON; its tokensPerSecond is that of
the median step, over all processes. With --ddp the R processes average gradients through DistributedDataParallel over gloo,
N threads and the whole batch B in each.

The allocator is tuned unless --plain-malloc: the script starts itself again with glibc told to keep its pages and to ask for
huge ones, since fresh pages every step would cost PyTorch 10 to 17 %. minorFaultsPerStep shows what is left of them.
With --mkl-avx512 PyTorch's MKL takes its AVX-512 kernels on processors of other makers than Intel too, where it would choose AVX2
(half the speed on an AMD EPYC of 2024): not what pip installs, but what the machine could do. Needs a C compiler.
Needs torch 2.4 or later.
"""
import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

TUNED = {
    "MALLOC_MMAP_MAX_": "0",  # no allocation is a mapping of its own, given back when freed
    "MALLOC_MMAP_THRESHOLD_": str(1 << 32),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 36),
    "MALLOC_TOP_PAD_": str(1 << 29),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
# layers, width D, heads, vocabulary, positions; batch B, tokens T
SHAPES = {
    "gpt2-124m-t64": (12, 768, 12, 50257, 1024, 4, 64),
    "gpt2-124m-t256": (12, 768, 12, 50257, 1024, 4, 256),
    "small": (4, 256, 4, 4096, 128, 16, 128),
}
WARM_UP = 2


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ddp", type=int, default=1, metavar="R")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--plain-malloc", action="store_true")
    parser.add_argument("--mkl-avx512", action="store_true")
    return parser.parse_args()


def environment(arguments):
    """The variables that the libraries read when they are loaded."""
    wanted = {} if arguments.plain_malloc else dict(TUNED)
    if arguments.mkl_avx512:
        library = os.path.join(sys.prefix, "mkl_avx512.so")
        if not os.path.exists(library):
            source = b"int mkl_serv_intel_cpu_true(void) { return 1; }"  # MKL's own question, answered
            subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-o", library, "-"], input=source, check=True)
        wanted["LD_PRELOAD"] = library
    return wanted


ARGUMENTS = parse() if __name__ == "__main__" else None
WANTED = environment(ARGUMENTS) if ARGUMENTS else {}
if any(os.environ.get(key) != value for key, value in WANTED.items()):
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **WANTED})

import torch  # noqa: E402  after the variables that its first allocation reads
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):  # [B, T, D]
        batch, tokens, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, tokens, -1))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    def __init__(self, layers, width, heads, vocabulary, positions):
        super().__init__()
        self.token, self.position = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if parameter.dim() >= 2:
                residual = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers) if residual else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, inputs, targets):  # [B, T] each
        x = self.token(inputs) + self.position.weight[: inputs.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.token.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def optimizer_of(model):
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [dict(params=decayed, weight_decay=0.1), dict(params=others, weight_decay=0.0)]
    return torch.optim.AdamW(groups, lr=3e-4, betas=(0.9, 0.95), eps=1e-8, fused=True)


def measure(rank, arguments, rendezvous, results):
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(rank)
    *sizes, batch, tokens = SHAPES[arguments.shape]
    model = Gpt2(*sizes)
    forward = model
    if arguments.ddp > 1:
        torch.distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=arguments.ddp)
        forward = nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
    optimizer = optimizer_of(model)
    rows = torch.randint(sizes[3], (batch, tokens + 1))
    inputs, targets = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()
    seconds, faults = [], 0
    for step in range(WARM_UP + arguments.steps):
        if step == WARM_UP:
            faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = forward(inputs, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    if arguments.ddp > 1:
        torch.distributed.destroy_process_group()
    results.put((rank, seconds[WARM_UP:], loss.item(), faults / arguments.steps))


def gemm_gflops(threads):
    """fp32 GEMM of one shape of GPT-2's, best of ten: shows when the library has fallen to a slow kernel."""
    torch.set_num_threads(threads)
    a, b = torch.randn(1024, 768), torch.randn(768, 3072)
    out = torch.empty(1024, 3072)
    best = math.inf
    for _ in range(10):
        start = time.perf_counter()
        torch.matmul(a, b, out=out)
        best = min(best, time.perf_counter() - start)
    return 2 * 1024 * 768 * 3072 / best / 1e9


def blas():
    lines = torch.__config__.show().splitlines()
    return next((line.strip(" -") for line in lines if "Math Kernel" in line or "BLAS_INFO" in line), "?")


def main(arguments):
    context = torch.multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        queue = context.Queue()
        worker = (arguments, os.path.join(folder, "rendezvous"), queue)
        if arguments.ddp == 1:
            measure(0, *worker)
        else:
            torch.multiprocessing.spawn(measure, worker, nprocs=arguments.ddp)
        _, seconds, loss, faults = min(queue.get(timeout=60) for _ in range(arguments.ddp))
    batch, tokens = SHAPES[arguments.shape][-2:]
    median = statistics.median(seconds)
    print(json.dumps(dict(
        shape=arguments.shape, threads=arguments.threads, processes=arguments.ddp,
        tokensPerSecond=round(arguments.ddp * batch * tokens / median, 1), stepSeconds=round(median, 5),
        bestStepSeconds=round(min(seconds), 5), loss=round(loss, 4), minorFaultsPerStep=round(faults),
        allocator="plain" if arguments.plain_malloc else "tuned", mklAvx512=arguments.mkl_avx512,
        gemmGflops=round(gemm_gflops(arguments.threads), 1),
        torch=torch.__version__, blas=blas(), cpuCapability=torch.backends.cpu.get_cpu_capability())))


if __name__ == "__main__":
    main(ARGUMENTS)
