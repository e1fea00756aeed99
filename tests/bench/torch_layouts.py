#!/usr/bin/env python3
"""The rival of `bin/bench layouts --torch`: the GPT-2 training step of torch_training.py, its batch shared by two processes of one
thread over gloo.

    torch_layouts.py --shape gpt2-124m-t64|gpt2-124m-t256|small --layout dp2|tp2|pp2|zero3 [--steps S]

dp2: DistributedDataParallel, half of the rows each. tp2: DTensor's column and row parallel linears, the vocabulary sharded with a
parallel loss. pp2: torch.distributed.pipelining, 1F1B over 8 micro-batches or as many as there are rows, cut where the FLOPs of the
slower stage are least, the tied table's gradient summed over both. zero3: FSDP2, a shard per block. Allocator and MKL are tuned as
torch_training.py describes. Prints one line of JSON; its tokensPerSecond is that of the median step.
"""
import argparse
import json
import os
import statistics
import sys
import tempfile
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

import torch_training as base

MICRO_BATCHES = 8


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=base.SHAPES, required=True)
    parser.add_argument("--layout", choices=("dp2", "tp2", "pp2", "zero3"), required=True)
    parser.add_argument("--steps", type=int, default=8)
    parser.set_defaults(plain_malloc=False, mkl_avx512=True)
    return parser.parse_args()


def clip(parameters, tied=()):
    """Scales gradients to a global norm of 1 at most; parts that ranks share are counted once, as tied says by rank."""
    own = sum(p.grad.to_local().square().sum() for p in parameters if hasattr(p, "to_local"))
    own = torch.as_tensor(own, dtype=torch.float32)
    if tied:
        own = own + sum(p.grad.square().sum() for p in parameters if p not in tied)
    dist.all_reduce(own)
    if not tied:
        own = own + sum(p.grad.square().sum() for p in parameters if not hasattr(p, "to_local"))
    scale = torch.clamp(1 / (own.sqrt() + 1e-6), max=1)
    for p in parameters:
        (p.grad.to_local() if hasattr(p, "to_local") else p.grad).mul_(scale)


def optimizer_of(model):
    """Fused AdamW; sharded parameters and whole ones in groups of their own, for they do not mix in a kernel."""
    groups = {}
    for p in model.parameters():
        groups.setdefault((p.dim() >= 2, hasattr(p, "to_local")), []).append(p)
    groups = [dict(params=ps, weight_decay=0.1 if decays else 0.0) for (decays, _), ps in groups.items()]
    return torch.optim.AdamW(groups, lr=3e-4, betas=(0.9, 0.95), eps=1e-8, fused=True)


def data_parallel(model, inputs, targets, rank):
    rows = slice(rank * len(inputs) // 2, (rank + 1) * len(inputs) // 2)
    wrapped = nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
    optimizer = base.optimizer_of(model)

    def step():
        optimizer.zero_grad(set_to_none=True)
        wrapped(inputs[rows], targets[rows]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def fully_sharded(model, inputs, targets, rank):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    rows = slice(rank * len(inputs) // 2, (rank + 1) * len(inputs) // 2)
    mesh = init_device_mesh("cpu", (2,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer = optimizer_of(model)

    def step():
        optimizer.zero_grad(set_to_none=True)
        model(inputs[rows], targets[rows]).backward()
        clip(list(model.parameters()))
        optimizer.step()

    return step


def tensor_parallel(model, inputs, targets, rank):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Replicate
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, loss_parallel, parallelize_module

    mesh = init_device_mesh("cpu", (2,))
    parallelize_module(model, mesh, {"token": RowwiseParallel(input_layouts=Replicate())})
    for block in model.blocks:
        block.heads //= 2
        columns, rows = ColwiseParallel, RowwiseParallel
        parallelize_module(block, mesh, {"qkv": columns(), "out": rows(), "up": columns(), "down": rows()})
    parameters = list(model.parameters())
    optimizer = optimizer_of(model)

    def step():
        optimizer.zero_grad(set_to_none=True)
        x = model.token(inputs) + model.position.weight[: inputs.shape[1]]
        for block in model.blocks:
            x = block(x)
        whole = DTensor.from_local(model.norm(x), mesh, [Replicate()], run_check=False)
        with loss_parallel():
            logits = F.linear(whole, model.token.weight)
            shared = DTensor.from_local(targets.flatten(), mesh, [Replicate()], run_check=False)
            F.cross_entropy(logits.flatten(0, 1), shared).backward()
        clip(parameters)
        optimizer.step()

    return step


class Stage(nn.Module):
    """The first blocks with the embedding, or the rest with the head."""

    def __init__(self, model, cut, rank):
        super().__init__()
        self.first = rank == 0
        self.token = model.token
        self.position = model.position if self.first else None
        self.blocks = model.blocks[:cut] if self.first else model.blocks[cut:]
        self.norm = None if self.first else model.norm

    def forward(self, x):
        if self.first:
            x = self.token(x) + self.position.weight[: x.shape[1]]
        for block in self.blocks:
            x = block(x)
        return x if self.first else F.linear(self.norm(x), self.token.weight)


def pipelined(model, inputs, targets, rank):
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B

    width, layers = model.token.weight.shape[1], len(model.blocks)
    block, head = 12 * width * width, model.token.weight.numel()
    cut = min(range(layers + 1), key=lambda k: max(k * block, (layers - k) * block + head))
    stage = Stage(model, cut, rank)
    schedule = Schedule1F1B(
        PipelineStage(stage, rank, 2, torch.device("cpu")),
        n_microbatches=min(MICRO_BATCHES, len(inputs)),
        loss_fn=lambda logits, wanted: F.cross_entropy(logits.flatten(0, 1), wanted.flatten()),
    )
    parameters = list(stage.parameters())
    tied = {stage.token.weight} if rank == 1 else {None}
    optimizer = optimizer_of(stage)

    def step():
        optimizer.zero_grad(set_to_none=True)
        if rank == 0:
            schedule.step(inputs)
        else:
            schedule.step(target=targets)
        dist.all_reduce(stage.token.weight.grad)
        clip(parameters, tied)
        optimizer.step()

    return step


LAYOUTS = {"dp2": data_parallel, "tp2": tensor_parallel, "pp2": pipelined, "zero3": fully_sharded}


def measure(rank, arguments, rendezvous, results):
    torch.set_num_threads(1)
    torch.manual_seed(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    *sizes, batch, tokens = base.SHAPES[arguments.shape]
    model = base.Gpt2(*sizes)
    rows = torch.randint(sizes[3], (batch, tokens + 1))
    step = LAYOUTS[arguments.layout](model, rows[:, :-1].contiguous(), rows[:, 1:].contiguous(), rank)
    seconds = []
    for _ in range(base.WARM_UP + arguments.steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    dist.destroy_process_group()
    results.put((rank, batch * tokens / statistics.median(seconds[base.WARM_UP :])))


def main():
    arguments = parse()
    wanted = base.environment(arguments)
    if any(os.environ.get(key) != value for key, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **wanted})
    context = torch.multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        queue = context.Queue()
        torch.multiprocessing.spawn(measure, (arguments, os.path.join(folder, "rendezvous"), queue), nprocs=2)
        _, figure = min(queue.get(timeout=60) for _ in range(2))
    print(json.dumps(dict(shape=arguments.shape, layout=arguments.layout, tokensPerSecond=round(figure, 1))))


if __name__ == "__main__":
    main()
