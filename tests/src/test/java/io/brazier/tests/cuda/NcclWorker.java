package io.brazier.tests.cuda;

import static org.bytedeco.cuda.global.nccl.*;

import java.io.File;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import org.bytedeco.cuda.nccl.ncclUniqueId;
import org.bytedeco.javacpp.Pointer;

/** A rank in a process of its own: adds once, prints the sum, and then once more with nobody sure to take part. */
public final class NcclWorker {
    private NcclWorker() {}

    /** @param arguments unique id in hexadecimal, rank, ranks */
    public static void main(String[] arguments) {
        Cudasim.load();
        byte[] bytes = HexFormat.of().parseHex(arguments[0]);
        ncclUniqueId id = new ncclUniqueId();
        for (int x = 0; x < bytes.length; x++) {
            id.internal(x, bytes[x]);
        }
        NcclRank self = new NcclRank(id, Integer.parseInt(arguments[1]), Integer.parseInt(arguments[2]), 0);
        Pointer buffer = self.rank.upload(1 + self.number, 10);
        self.made(ncclAllReduce(buffer, buffer, 2, ncclFloat, ncclSum, self.communicator, self.rank.stream));
        float[] sums = self.rank.downloadFloats(buffer, 2);
        System.out.println("SUM " + sums[0] + " " + sums[1]);
        self.made(ncclAllReduce(buffer, buffer, 2, ncclFloat, ncclSum, self.communicator, self.rank.stream));
        System.out.println("ASKED");
        self.rank.synchronize();
        System.out.println("DONE");
        self.close();
    }

    static Process start(ncclUniqueId id, int rank, int numRanks) throws IOException {
        byte[] bytes = new byte[NCCL_UNIQUE_ID_BYTES];
        id.internal().get(bytes);
        List<String> command = new ArrayList<>();
        command.add(System.getProperty("java.home") + File.separator + "bin" + File.separator + "java");
        for (String property : List.of("cudasim.libraries", "org.bytedeco.javacpp.cachedir")) {
            command.add("-D" + property + "=" + System.getProperty(property));
        }
        command.addAll(List.of("-Xmx256m", "-cp", System.getProperty("java.class.path"), NcclWorker.class.getName()));
        command.addAll(List.of(HexFormat.of().formatHex(bytes), "" + rank, "" + numRanks));
        return new ProcessBuilder(command)
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
    }
}
