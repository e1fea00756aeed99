package io.brazier.tests.golden;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.brazier.nn.Gpt;
import io.brazier.nn.GptConfig;
import io.brazier.plan.InferencePlan;
import io.brazier.plan.Layout;
import io.brazier.plan.Request;
import io.brazier.plan.TrainingPlan;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

/** Programs and plans as text. Run with -Dgolden.update=true to rewrite the files, and read the diff. */
class GoldenTest {
    private static final Path DIRECTORY = Path.of("src/test/resources/golden");
    private static final GptConfig SMALL = GptConfig.of(11, 8, 1, 2, 4);

    @Test
    void dataParallelTraining() throws IOException {
        check("training-dp2", training(2, 1, 0));
    }

    @Test
    void accumulationAndDropout() throws IOException {
        check("training-accumulate3-dropout", training(1, 3, 0.1));
    }

    @Test
    void cachedDecoding() throws IOException {
        check(
                "inference",
                InferencePlan.make(new Gpt(SMALL), 1, 8, i -> 0).plan().toString());
    }

    private static String training(int dp, int numMicroBatches, double dropout) {
        Request request = new Request(new Gpt(SMALL), Layout.dataParallel(dp), 0, 2, numMicroBatches, 8, dropout, 0.1);
        return TrainingPlan.make(request, i -> 0).plan().toString();
    }

    private static void check(String name, String actual) throws IOException {
        Path file = DIRECTORY.resolve(name + ".txt");
        if (Boolean.getBoolean("golden.update")) {
            Files.createDirectories(DIRECTORY);
            Files.writeString(file, actual);
        }
        assertEquals(Files.readString(file), actual);
    }
}
