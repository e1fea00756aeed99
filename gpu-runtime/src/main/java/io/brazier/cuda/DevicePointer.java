package io.brazier.cuda;

import org.bytedeco.javacpp.Pointer;

/** An address of the device, for calls that take the presets' pointers. */
final class DevicePointer extends Pointer {
    private DevicePointer(long address) {
        this.address = address;
    }

    static Pointer at(long address) {
        return new DevicePointer(address);
    }
}
