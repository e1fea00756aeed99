package io.brazier.spark.ml;

import io.brazier.checkpoint.CheckpointStore;
import io.brazier.collective.Communicator;
import io.brazier.exec.TrainingEngine;
import io.brazier.nn.InitialWeights;
import io.brazier.nn.ModelConfig;
import io.brazier.nn.ReadAhead;
import io.brazier.nn.WeightSource;
import io.brazier.plan.Layout;
import io.brazier.spark.barrier.RankContext;
import io.brazier.spark.barrier.RankWork;
import io.brazier.spark.data.TokenizerFiles;
import io.brazier.spark.plugin.ExecutorRuntime;
import io.brazier.train.ExchangedBatches;
import io.brazier.train.Resume;
import io.brazier.train.TokenStore;
import io.brazier.train.Trainer;
import io.brazier.train.TrainingConfig;
import io.brazier.train.WholeWeights;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Iterator;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.spark.TaskContext;
import org.apache.spark.broadcast.Broadcast;

/**
 * What each rank of a training job does: keep its tokens on its disk, join, train, and on rank 0 give the model back.
 *
 * @param initial files of the model to start from; null to start from random weights
 * @param checkpoints where checkpoints are; null for none
 * @param device the param of that name
 */
record TrainWork(
        ModelConfig model,
        Layout layout,
        TrainingConfig config,
        double validationFraction,
        TokenizerFiles tokenizer,
        Broadcast<HashMap<String, byte[][]>> initial,
        CheckpointDirectory checkpoints,
        String resume,
        String device)
        implements RankWork<int[]> {

    @Override
    public int groupSize() {
        return layout.mesh().tp();
    }

    @Override
    public void run(RankContext context, Iterator<int[]> chunks) throws Exception {
        ExecutorRuntime.warm();
        TokenStore store = keep(chunks, context.localDirectory());
        Communicator communicator = context.join();
        try (TaskDevice mine = TaskDevice.agree(device, TaskContext.get(), communicator);
                ExchangedBatches batches = new ExchangedBatches(
                        communicator, store, context.partition(), config, layout.mesh(), validationFraction);
                TrainingEngine engine = mine.training(
                        config.spec(model, layout), communicator, firstWeights(context.localDirectory()))) {
            context.reportDevice(mine.description(), mine.peakFlops(layout.precision()));
            Optional<CheckpointStore> saved = checkpoints == null ? Optional.empty() : Optional.of(checkpoints.open());
            Trainer.run(new Trainer.Run(
                    model,
                    layout,
                    config,
                    communicator,
                    engine,
                    batches,
                    saved,
                    Resume.parse(resume),
                    Math.toIntExact(context.generation()),
                    context.progress()));
            WholeWeights.lend(engine, communicator, weights -> giveBack(context, weights));
            communicator.barrier();
        }
    }

    private TokenStore keep(Iterator<int[]> chunks, Path directory) throws IOException {
        try (TokenStore.Writer writer = TokenStore.write(directory, model.vocabularySize())) {
            while (chunks.hasNext()) {
                writer.append(chunks.next());
            }
            return writer.finish();
        }
    }

    private WeightSource firstWeights(Path directory) throws IOException {
        if (initial == null) {
            return new InitialWeights(model.model().parameters(), config.seed());
        }
        Path files = Files.createDirectory(directory.resolve("initial"));
        ModelFiles.write(initial.value(), files);
        ModelDirectory start = ModelDirectory.load(files);
        return new ReadAhead(start.weights(), start.config().model().parameters());
    }

    private void giveBack(RankContext context, WeightSource weights) throws IOException {
        Path directory = context.localDirectory().resolve("model");
        ModelDirectory.write(directory, model, config.dropout(), weights, tokenizer.open());
        try (Stream<Path> files = Files.list(directory)) {
            for (Path file : files.sorted().collect(Collectors.toList())) {
                context.sendFile(file);
            }
        }
    }
}
