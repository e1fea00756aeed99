package io.brazier.tests.bench;

import static java.util.Map.entry;

import io.brazier.plan.RankPlan;
import io.brazier.program.Attention.CausalAttention;
import io.brazier.program.Attention.CausalAttentionGrad;
import io.brazier.program.Cast;
import io.brazier.program.Collective;
import io.brazier.program.Elementwise;
import io.brazier.program.Gated;
import io.brazier.program.Instruction;
import io.brazier.program.Lookup;
import io.brazier.program.Loss;
import io.brazier.program.Matrix;
import io.brazier.program.Norm;
import io.brazier.program.Op;
import io.brazier.program.Optimizer;
import io.brazier.program.Rotary;
import io.brazier.sim.Hardware;
import io.brazier.sim.OpCost;
import io.brazier.sim.Scenario;
import io.brazier.tensor.DType;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;

/** What the ops of a training step ask of an H100: FLOPs, bytes and bounds, all as the simulator counts them. */
final class KernelWork {
    private static final String CUBLAS = "cuBLASLt";

    /** Beginnings of the names of the kernels that {@code io.brazier.cuda} launches for an op. */
    private static final Map<Class<? extends Op>, List<String>> KERNELS = Map.ofEntries(
            entry(Matrix.MatMul.class, List.of(CUBLAS)),
            entry(Matrix.SumRows.class, List.of("sum_columns", "add_parts")),
            entry(Norm.LayerNorm.class, List.of("layer_norm")),
            entry(Norm.LayerNormGradInput.class, List.of("layer_norm_grad")),
            entry(Norm.LayerNormGradParameters.class, List.of("layer_norm_columns", "add_parts")),
            entry(Norm.RmsNorm.class, List.of("rms_norm")),
            entry(Norm.RmsNormGradInput.class, List.of("rms_norm_grad")),
            entry(Norm.RmsNormGradParameters.class, List.of("rms_norm_columns", "add_parts")),
            entry(CausalAttention.class, List.of("attention_")),
            entry(CausalAttentionGrad.class, List.of("attention_dq_", "attention_dkv_")),
            entry(Rotary.class, List.of("rotary")),
            entry(Rotary.RotaryGrad.class, List.of("rotary")),
            entry(Elementwise.Activate.class, List.of("gelu_tanh")),
            entry(Elementwise.ActivateGrad.class, List.of("gelu_tanh_grad")),
            entry(Elementwise.Add.class, List.of("add")),
            entry(Elementwise.AddBias.class, List.of("add_bias")),
            entry(Elementwise.Scale.class, List.of("scale")),
            entry(Cast.class, List.of("cast")),
            entry(Gated.class, List.of("gated_silu")),
            entry(Gated.GatedGrad.class, List.of("gated_silu_grad")),
            entry(Lookup.Embedding.class, List.of("embedding")),
            entry(Lookup.EmbeddingGrad.class, List.of("embedding_grad")),
            entry(Loss.CrossEntropy.class, List.of("row_log_sum_exp", "cross_entropy_loss")),
            entry(Loss.CrossEntropyGrad.class, List.of("cross_entropy_grad")),
            entry(Loss.RowLogSumExp.class, List.of("row_log_sum_exp")),
            entry(Loss.ShardedCrossEntropy.class, List.of("combine_shards", "cross_entropy_loss")),
            entry(Optimizer.SquaredSum.class, List.of("squared_parts", "squared_sum")),
            entry(Optimizer.AdamW.class, List.of("adamw")));

    private static final List<RooflineCase> CASES = List.of(RooflineCase.GPT2, RooflineCase.LLAMA3);

    private KernelWork() {}

    /** An op with the types of its operands, all that its cost depends on. */
    private record Work(Op op, List<TensorType> operands) {
        static Work of(Instruction i) {
            return new Work(i.op(), i.inputTypes());
        }
    }

    /** Markdown, a table for each model; kernels are checked to be among those compiled. */
    static List<String> tables(List<KernelResources> compiled) {
        List<String> lines = new ArrayList<>(List.of(
                "",
                "## What the ops of a training step ask for",
                "",
                "FLOPs and bytes are the ops' own (`Op.flops`, `Op.bytes`), which the simulator prices; bytes are those of operands and",
                "results, once each. The bound is the longer of FLOPs at the peak of their kind and bytes at the memory's bandwidth, from",
                "`h100.json`; no kernel can beat it. The clock is what the simulator takes. Times are for one step of one micro-batch",
                "in bf16; types other than bf16 are named; exchanges between GPUs are left out. What kernels do beyond these counts:",
                "",
                "- attention_dq and attention_dkv both compute scores and their gradients, so that no sum needs atomics: 7 products where",
                "  the op counts the 5 that one kernel would need, 1.4 times its FLOPs. Both read q, k, v and dO, 1.5 times its",
                "  bytes. mma.sync, which these kernels use, reaches about 62 % of the peak (arXiv:2402.13499): their own bound is then",
                "  1.6 times that of the op's FLOPs forward, 2.3 times backward. Tiles on the diagonal are computed whole.",
                "- Keys and values are read again for each tile of queries, from L2 if it holds those of the heads in flight.",
                "- Norms read a row two or three times, all but the first from L1, which holds the rows of the blocks in flight up to",
                "  a width of about 7,000 in bf16; beyond that from L2.",
                "- Sums over rows pass their parts through memory: 2 to 6 % more bytes in these models.",
                "- embedding_grad looks through all ids for each row, in a cache: rows^2 / 2 reads of 4 bytes at most.",
                "- cuBLASLt may split sums, through a workspace of at most 32 MB."));
        for (RooflineCase one : CASES) {
            lines.addAll(List.of("", "### " + one.title(), ""));
            lines.addAll(table(one.scenario(), compiled));
        }
        return lines;
    }

    private static List<String> table(Scenario scenario, List<KernelResources> compiled) {
        Map<Work, List<Instruction>> works = new LinkedHashMap<>();
        RankPlan plan = scenario.stages().get(0);
        plan.schedule().stream()
                .filter(RankPlan.Launch.class::isInstance)
                .map(step -> plan.segments().get(((RankPlan.Launch) step).segment()))
                .flatMap(segment -> segment.program().instructions().stream())
                .filter(i -> !(i.op() instanceof Collective))
                .forEach(i -> works.computeIfAbsent(Work.of(i), key -> new ArrayList<>())
                        .add(i));
        OpCost cost = new OpCost(Hardware.named("h100"), 1);
        List<String> lines = new ArrayList<>(List.of(
                "| op | kernels | operands | times | GFLOP | MB | FLOP/byte | bound by | bound, us | the clock, us |",
                "|---|---|---|---|---|---|---|---|---|---|"));
        double bounds = 0;
        double seconds = 0;
        for (var work : works.entrySet()) {
            Instruction i = work.getValue().get(0);
            int times = work.getValue().size();
            lines.add(row(i, times, cost, compiled));
            bounds += times * cost.bound(i).seconds();
            seconds += times * cost.seconds(i);
        }
        lines.add(format("| all | | | | | | | | %.0f | %.0f |", 1e6 * bounds, 1e6 * seconds));
        return lines;
    }

    private static String row(Instruction i, int times, OpCost cost, List<KernelResources> compiled) {
        OpCost.Bound bound = cost.bound(i);
        return format(
                "| %s | %s | %s | %d | %.3f | %.1f | %.1f | %s | %.1f | %.1f |",
                i.op().mnemonic(),
                kernels(i.op(), compiled),
                i.inputTypes().stream().map(KernelWork::describe).collect(Collectors.joining(", ")),
                times,
                i.flops() / 1e9,
                i.bytes() / 1e6,
                i.flops() / i.bytes(),
                bound.arithmeticSeconds() > bound.memorySeconds() ? "FLOPs" : "bytes",
                1e6 * bound.seconds(),
                1e6 * cost.seconds(i));
    }

    private static String kernels(Op op, List<KernelResources> compiled) {
        List<String> names = KERNELS.get(op.getClass());
        if (names == null) {
            throw new AssertionError(
                    "say in " + KernelWork.class.getSimpleName() + " which kernels " + op.mnemonic() + " takes");
        }
        for (String name : names) {
            if (!name.equals(CUBLAS)
                    && compiled.stream().noneMatch(k -> k.name().startsWith(name))) {
                throw new AssertionError(op.mnemonic() + " names a kernel " + name + " that is not there");
            }
        }
        return String.join(", ", names);
    }

    private static String describe(TensorType type) {
        String dims = type.shape().dims().stream().map(String::valueOf).collect(Collectors.joining(" x "));
        return dims + (type.dtype() == DType.BF16 ? "" : " " + type.dtype());
    }

    private static String format(String format, Object... values) {
        return String.format(Locale.ROOT, format, values);
    }
}
