package io.brazier.tests.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuBackend;
import io.brazier.cpu.CpuCommunicators;
import io.brazier.exec.Backend;
import io.brazier.program.Collective;
import io.brazier.program.Scaled;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The table of ops on the CPU back end, with one thread and with two. */
class OpTest extends OpSuite {
    private Communicator communicator;
    private List<CpuBackend> backends;

    @BeforeAll
    void open() {
        communicator = CpuCommunicators.local(1, Duration.ofSeconds(30)).get(0);
        backends = List.of(new CpuBackend(1, group -> communicator), new CpuBackend(2, group -> communicator));
    }

    @AfterAll
    void close() throws Exception {
        backends.forEach(CpuBackend::close);
        communicator.close();
    }

    @Override
    protected List<Backend> backends() {
        return List.copyOf(backends);
    }

    @Override
    protected Set<Class<?>> supported() {
        return backends.get(0).supported();
    }

    @Test
    void everyOpHasARowAndAKernel() {
        Set<Class<?>> onGpusAlone = Set.of(Scaled.class.getPermittedSubclasses());
        Set<Class<?>> kernels = new HashSet<>(ops());
        kernels.removeAll(onGpusAlone);
        assertEquals(kernels, supported());
        Set<Class<?>> covered = new HashSet<>(Set.of(Collective.Start.class, Collective.Wait.class));
        OpCases.all().forEach(c -> covered.add(c.op().getClass()));
        assertEquals(allOps(), covered);
    }
}
