package io.brazier.cuda;

import static io.brazier.cuda.Driver.check;
import static org.bytedeco.cuda.global.cudart.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
import static org.bytedeco.cuda.global.cudart.cuGraphDestroy;
import static org.bytedeco.cuda.global.cudart.cuGraphExecDestroy;
import static org.bytedeco.cuda.global.cudart.cuGraphInstantiate;
import static org.bytedeco.cuda.global.cudart.cuGraphLaunch;
import static org.bytedeco.cuda.global.cudart.cuStreamBeginCapture;
import static org.bytedeco.cuda.global.cudart.cuStreamEndCapture;

import org.bytedeco.cuda.cudart.CUgraphExec_st;
import org.bytedeco.cuda.cudart.CUgraph_st;
import org.bytedeco.cuda.cudart.CUstream_st;

/** Launches that are captured when they are first run, and from then on are one launch. */
final class CudaGraph implements Runnable, AutoCloseable {
    private final CUstream_st stream;
    private final Runnable launches;
    private CUgraphExec_st executable;

    /** @param launches on stream, or on streams that begin and end with it */
    CudaGraph(CUstream_st stream, Runnable launches) {
        this.stream = stream;
        this.launches = launches;
    }

    @Override
    public void run() {
        if (executable == null) {
            executable = capture();
        }
        check("cuGraphLaunch", cuGraphLaunch(executable, stream));
    }

    private CUgraphExec_st capture() {
        check("cuStreamBeginCapture", cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
        CUgraph_st graph = new CUgraph_st();
        try {
            launches.run();
        } catch (RuntimeException | Error e) {
            cuStreamEndCapture(stream, graph);
            throw e;
        }
        check("cuStreamEndCapture", cuStreamEndCapture(stream, graph));
        CUgraphExec_st made = new CUgraphExec_st();
        check("cuGraphInstantiate", cuGraphInstantiate(made, graph, 0));
        check("cuGraphDestroy", cuGraphDestroy(graph));
        return made;
    }

    @Override
    public void close() {
        if (executable != null) {
            check("cuGraphExecDestroy", cuGraphExecDestroy(executable));
        }
    }
}
