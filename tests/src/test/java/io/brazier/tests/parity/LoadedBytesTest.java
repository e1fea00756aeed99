package io.brazier.tests.parity;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.checkpoint.HuggingFaceModel;
import io.brazier.checkpoint.LocalStorage;
import io.brazier.checkpoint.Storage;
import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuCommunicators;
import io.brazier.cpu.CpuEngines;
import io.brazier.exec.LoadedPlan.Fill;
import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingEngine.Parameter;
import io.brazier.exec.TrainingSpec;
import io.brazier.nn.HuggingFace;
import io.brazier.nn.InitialWeights;
import io.brazier.nn.LlamaConfig;
import io.brazier.nn.LlamaConfig.Experts;
import io.brazier.nn.WeightSource;
import io.brazier.optim.AdamWSettings;
import io.brazier.plan.Layout;
import io.brazier.program.RotaryScaling;
import io.brazier.tensor.Mesh;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A rank reads the bytes of its own slices of a model's files, and no others. */
class LoadedBytesTest {
    private static final LlamaConfig CONFIG =
            new LlamaConfig(64, 16, 4, 4, 2, 6, 20, 28, 1e-5, 10000, RotaryScaling.NONE, false, Experts.NONE);

    @TempDir
    Path directory;

    /** A local storage that counts what its readers took. */
    private static Storage counting(AtomicLong bytes) {
        LocalStorage local = new LocalStorage();
        return (Storage) Proxy.newProxyInstance(
                Storage.class.getClassLoader(), new Class<?>[] {Storage.class}, (proxy, method, arguments) -> {
                    try {
                        Object result = method.invoke(local, arguments);
                        return result instanceof InputStream in ? new Counted(in, bytes) : result;
                    } catch (InvocationTargetException e) {
                        throw e.getCause();
                    }
                });
    }

    private static final class Counted extends FilterInputStream {
        private final AtomicLong bytes;

        Counted(InputStream in, AtomicLong bytes) {
            super(in);
            this.bytes = bytes;
        }

        @Override
        public int read() throws IOException {
            int value = super.read();
            bytes.addAndGet(value < 0 ? 0 : 1);
            return value;
        }

        @Override
        public int read(byte[] target, int offset, int length) throws IOException {
            int count = super.read(target, offset, length);
            bytes.addAndGet(Math.max(0, count));
            return count;
        }
    }

    /** A rank of tp holds all of the norms, so it reads a little more than its share. */
    @ParameterizedTest
    @CsvSource({"1,1,1,0,1", "1,1,2,0,2", "1,2,1,0,2", "1,2,2,0,3.5", "2,1,1,3,2", "2,1,2,3,3.9"})
    void onlyItsOwnSlices(int dp, int pp, int tp, int zeroStage, double shares) throws Exception {
        String path = directory.resolve("model").toString();
        HuggingFaceModel.write(
                new LocalStorage(),
                path,
                HuggingFace.configJson(CONFIG, 0, OptionalInt.empty()),
                HuggingFace.tensors(CONFIG, new InitialWeights(CONFIG.model().parameters(), 1)),
                Map.of(),
                10_000);
        Layout layout = Layout.of(new Mesh(dp, pp, 1, 1, tp)).withZeroStage(zeroStage);
        List<Communicator> communicators = CpuCommunicators.local(layout.mesh().worldSize(), Duration.ofSeconds(60));
        ExecutorService threads = Executors.newFixedThreadPool(communicators.size());
        try {
            List<Future<Long>> ranks = new ArrayList<>();
            for (Communicator c : communicators) {
                ranks.add(threads.submit(() -> load(path, layout, c)));
            }
            for (Future<Long> rank : ranks) {
                long bytes = rank.get(60, TimeUnit.SECONDS);
                assertTrue(
                        bytes <= 1.02 * 4 * CONFIG.numParameters() / shares,
                        bytes + " bytes of " + 4 * CONFIG.numParameters());
            }
        } finally {
            threads.shutdownNow();
            communicators.forEach(c -> c.abort("test over"));
        }
    }

    /** Bytes of tensors that a rank reads to get ready. */
    private static long load(String path, Layout layout, Communicator communicator) {
        AtomicLong bytes = new AtomicLong();
        HuggingFaceModel model = HuggingFaceModel.open(counting(bytes), path);
        WeightSource weights = HuggingFace.weights(model, CONFIG);
        long headers = bytes.get();
        TrainingSpec spec =
                new TrainingSpec(CONFIG, layout, 1, 2, 16, 0, new AdamWSettings(0.9, 0.95, 1e-8, 0.1, 1.0), 1);
        try (TrainingEngine engine = CpuEngines.training(spec, communicator, 1, weights, Fill.NAN)) {
            long held = engine.parameters().stream()
                    .mapToLong(Parameter::numElements)
                    .sum();
            assertEquals(4 * held, bytes.get() - headers);
            return bytes.get() - headers;
        }
    }
}
