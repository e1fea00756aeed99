package io.brazier.collective;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** Passes connections on and flips one bit of what the dialler of each data connection sends. */
final class AlteringProxy implements AutoCloseable {

    private final Endpoint target;
    private final int at;
    private final ServerSocket listener;
    private final List<Socket> sockets = new CopyOnWriteArrayList<>();

    AlteringProxy(Endpoint target, int at) throws IOException {
        this.target = target;
        this.at = at;
        this.listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        start(this::accept);
    }

    Endpoint endpoint() {
        return new Endpoint(target.host(), target.sharedFile(), target.address(), listener.getLocalPort());
    }

    private interface Body {
        void run() throws IOException;
    }

    private static void start(Body body) {
        Thread thread = new Thread(() -> {
            try {
                body.run();
            } catch (IOException e) {
                // One side closed; the copy ends.
            }
        });
        thread.setDaemon(true);
        thread.start();
    }

    private void accept() throws IOException {
        while (true) {
            Socket dialler = listener.accept();
            Socket listening = new Socket(target.address(), target.port());
            sockets.addAll(List.of(dialler, listening));
            start(() -> copy(listening, dialler, false));
            start(() -> copy(dialler, listening, true));
        }
    }

    private void copy(Socket from, Socket to, boolean fromDialler) throws IOException {
        byte[] buffer = new byte[1 << 16];
        InputStream in = from.getInputStream();
        OutputStream out = to.getOutputStream();
        boolean alters = false;
        long position = 0;
        try {
            for (int read = in.read(buffer); read >= 0; read = in.read(buffer)) {
                if (fromDialler && position == 0) {
                    alters = buffer[3] == Handshake.Purpose.DATA.ordinal();
                }
                if (alters && position <= at && at < position + read) {
                    buffer[(int) (at - position)] ^= 4;
                }
                out.write(buffer, 0, read);
                position += read;
            }
        } finally {
            from.close();
            to.close();
        }
    }

    @Override
    public void close() throws IOException {
        listener.close();
        for (Socket socket : sockets) {
            socket.close();
        }
    }
}
