package io.brazier.spark.ml;

import io.brazier.exec.InferenceEngine;
import io.brazier.spark.plugin.ExecutorGpus;
import io.brazier.spark.plugin.ExecutorRuntime;
import io.brazier.text.Tokenizer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Iterator;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.BiFunction;
import org.apache.hadoop.fs.FileUtil;
import org.apache.spark.SparkEnv;
import org.apache.spark.TaskContext;
import org.apache.spark.broadcast.Broadcast;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The models that this executor holds. All tasks of an executor share one engine per model, turn by turn, with the threads of the
 * whole executor: weights are in memory once. A model that no task uses is dropped when another one is wanted.
 */
final class ExecutorModels {
    private static final Logger LOG = LoggerFactory.getLogger(ExecutorModels.class);
    private static final Map<Key, Loaded> LOADED = new HashMap<>();

    /** @param gpu that Spark assigned to the tasks that share the model */
    private record Key(long broadcast, int maxBatch, int contextLength, String device, Optional<String> gpu) {}

    private ExecutorModels() {}

    /** The right to use a model until it is closed. */
    static final class Lease implements AutoCloseable {
        private final Loaded model;
        private boolean closed;

        private Lease(Loaded model) {
            this.model = model;
        }

        /** Runs with the engine to itself, on the engine's own thread. */
        <R> R use(BiFunction<InferenceEngine, Tokenizer, R> work) {
            return model.onItsThread(() -> work.apply(model.engine, model.tokenizer));
        }

        @Override
        public void close() {
            synchronized (LOADED) {
                model.numUsers -= closed ? 0 : 1;
                closed = true;
            }
        }
    }

    /** A model and the one thread that may touch its engine. */
    private static final class Loaded {
        private final ExecutorService thread = Executors.newSingleThreadExecutor(work -> {
            Thread worker = new Thread(work, "brazier-inference");
            worker.setDaemon(true);
            return worker;
        });
        private TaskDevice device;
        private InferenceEngine engine;
        private Tokenizer tokenizer;
        private int numUsers;

        void start(ModelDirectory content, InferenceSettings settings, TaskDevice taken) {
            LOG.info("Inference on {}", taken.description());
            tokenizer = content.tokenizer();
            device = taken;
            try {
                engine = taken.inference(
                        content.config(),
                        content.weights(),
                        settings.batchSize(),
                        settings.maxTokens(content.config()));
            } catch (RuntimeException | Error e) {
                taken.close();
                throw e;
            }
        }

        <R> R onItsThread(Callable<R> work) {
            try {
                return thread.submit(work).get();
            } catch (ExecutionException e) {
                ExecutorGpus.endIfLost(e.getCause());
                if (e.getCause() instanceof RuntimeException) {
                    throw (RuntimeException) e.getCause();
                }
                throw new IllegalStateException(e.getCause().toString(), e.getCause());
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new IllegalStateException("interrupted while the model ran", e);
            }
        }

        void drop() {
            onItsThread(() -> {
                try {
                    engine.close();
                } finally {
                    device.close();
                }
                return null;
            });
            thread.shutdown();
        }
    }

    static Lease lease(Broadcast<HashMap<String, byte[][]>> files, InferenceSettings settings, TaskContext task) {
        Key key = new Key(
                files.id(),
                settings.batchSize(),
                settings.contextLength(),
                settings.device(),
                ExecutorGpus.assigned(task));
        synchronized (LOADED) {
            Loaded model = LOADED.get(key);
            if (model == null) {
                dropUnused();
                model = load(files.value(), settings, task);
                LOADED.put(key, model);
            }
            model.numUsers++;
            return new Lease(model);
        }
    }

    private static Loaded load(HashMap<String, byte[][]> files, InferenceSettings settings, TaskContext task) {
        Loaded model = new Loaded();
        model.onItsThread(() -> {
            ExecutorRuntime.warm();
            Path directory = Files.createTempDirectory(
                    Path.of(SparkEnv.get().blockManager().diskBlockManager().localDirsString()[0]), "brazier-model");
            try {
                ModelFiles.write(files, directory);
                ModelDirectory content = ModelDirectory.load(directory);
                model.start(content, settings, TaskDevice.take(settings.device(), task, numThreads(task.cpus())));
            } finally {
                FileUtil.fullyDelete(directory.toFile());
            }
            return null;
        });
        return model;
    }

    /** Frees the memory and the GPUs of the models that no task uses. */
    static void dropUnused() {
        synchronized (LOADED) {
            Iterator<Loaded> models = LOADED.values().iterator();
            while (models.hasNext()) {
                Loaded model = models.next();
                if (model.numUsers == 0) {
                    models.remove();
                    model.drop();
                }
            }
        }
    }

    private static int numThreads(int taskCpus) {
        SparkEnv env = SparkEnv.get();
        boolean isLocal = "driver".equals(env.executorId());
        int otherwise = isLocal ? Runtime.getRuntime().availableProcessors() : taskCpus;
        return Math.max(taskCpus, env.conf().getInt("spark.executor.cores", otherwise));
    }
}
