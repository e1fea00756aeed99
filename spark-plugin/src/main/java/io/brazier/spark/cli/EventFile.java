package io.brazier.spark.cli;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.zip.CRC32C;

/**
 * Scalars over steps in a file that TensorBoard reads.
 *
 * <p>A file is a series of records {@code length u64, masked CRC32C of it u32, data, masked CRC32C of data u32}, little-endian
 * (TensorFlow's record_writer.cc). Data is an Event of event.proto: 1 wall_time double, 2 step varint, 3 file_version string,
 * 5 summary; a Summary repeats 1 value, a Value is 1 tag string, 2 simple_value float.
 */
final class EventFile implements AutoCloseable {
    private static final int VARINT = 0;
    private static final int FIXED64 = 1;
    private static final int BYTES = 2;
    private static final int FIXED32 = 5;

    private final OutputStream out;

    /** Creates the file in a directory, which is made when missing. */
    EventFile(Path directory, double wallSeconds) throws IOException {
        Files.createDirectories(directory);
        // TensorBoard knows the file by "tfevents" and orders several runs by the seconds in their names.
        out = Files.newOutputStream(directory.resolve("events.out.tfevents." + (long) wallSeconds + ".brazier."
                + ProcessHandle.current().pid()));
        Message event =
                new Message().fixed64(1, wallSeconds).bytes(3, "brain.Event:2".getBytes(StandardCharsets.UTF_8));
        writeRecord(event.toByteArray());
    }

    /** Appends the values that belong to a step; they can be read at once. */
    void write(double wallSeconds, long step, Map<String, Double> values) throws IOException {
        Message summary = new Message();
        values.forEach((tag, value) -> summary.bytes(
                1,
                new Message()
                        .bytes(1, tag.getBytes(StandardCharsets.UTF_8))
                        .fixed32(2, value.floatValue())
                        .toByteArray()));
        writeRecord(new Message()
                .fixed64(1, wallSeconds)
                .varint(2, step)
                .bytes(5, summary.toByteArray())
                .toByteArray());
    }

    private void writeRecord(byte[] data) throws IOException {
        ByteBuffer record = ByteBuffer.allocate(16 + data.length).order(ByteOrder.LITTLE_ENDIAN);
        record.putLong(data.length);
        record.putInt(maskedCrc(record.array(), 0, 8));
        record.put(data);
        record.putInt(maskedCrc(data, 0, data.length));
        out.write(record.array());
        out.flush();
    }

    /** Rotated and shifted, so that a checksum of data which holds checksums stays sound. */
    private static int maskedCrc(byte[] data, int offset, int length) {
        CRC32C crc = new CRC32C();
        crc.update(data, offset, length);
        return Integer.rotateRight((int) crc.getValue(), 15) + 0xa282ead8;
    }

    @Override
    public void close() throws IOException {
        out.close();
    }

    /** A protocol-buffers message under construction: fields in the order of the calls. */
    private static final class Message {
        private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

        private Message tag(int field, int wireType) {
            return raw((long) field << 3 | wireType);
        }

        private Message raw(long varint) {
            long rest = varint;
            while ((rest & ~0x7fL) != 0) {
                bytes.write((int) (rest & 0x7f | 0x80));
                rest >>>= 7;
            }
            bytes.write((int) rest);
            return this;
        }

        Message varint(int field, long value) {
            return tag(field, VARINT).raw(value);
        }

        Message bytes(int field, byte[] value) {
            tag(field, BYTES).raw(value.length).bytes.writeBytes(value);
            return this;
        }

        Message fixed64(int field, double value) {
            tag(field, FIXED64).little(Double.doubleToLongBits(value), 8);
            return this;
        }

        Message fixed32(int field, float value) {
            tag(field, FIXED32).little(Float.floatToIntBits(value), 4);
            return this;
        }

        private void little(long value, int numBytes) {
            for (int i = 0; i < numBytes; i++) {
                bytes.write((int) (value >>> 8 * i));
            }
        }

        byte[] toByteArray() {
            return bytes.toByteArray();
        }
    }
}
