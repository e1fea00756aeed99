// Planted bugs: what is said of each, and which error a launch returns.
#include "harness.h"

namespace selftest {

namespace {

struct Fault {
    std::string kernel;
    int error;
    std::string said;
    std::function<int(const cudasim::Module&, const std::string&)> launch;
};

}  // namespace

void run_faulty_kernels(const Folders& folders) {
    std::unique_ptr<cudasim::Module> module = build(folders.selftest + "/faults.cu", folders);
    Array<float> x(1024, 1.0f), y(1024, 0.0f), small(32, 1.0f);
    Array<int> whole(32, 0);
    auto both = [&](unsigned threads) {
        return [&, threads](const cudasim::Module& m, const std::string& k) {
            return launch(m, k, {1, 1, 1}, {threads, 1, 1}, 0, x.data(), y.data());
        };
    };
    auto out = [&](unsigned threads, unsigned blocks = 1) {
        return [&, threads, blocks](const cudasim::Module& m, const std::string& k) {
            return launch(m, k, {blocks, 1, 1}, {threads, 1, 1}, 0, y.data());
        };
    };
    auto counted = [&](int items, size_t shared) {
        return [&, items, shared](const cudasim::Module& m, const std::string& k) {
            return launch(m, k, {1, 1, 1}, {1, 1, 1}, shared, y.data(), items);
        };
    };
    const Fault faults[] = {
        {"missing_barrier", 0, "faults.cu:7: shared-memory race: reads what thread", both(128)},
        {"missing_second_barrier", 0, "faults.cu:13: shared-memory race: writes what", both(128)},
        {"missing_warp_barrier", 0, "faults.cu:23: shared-memory race: reads", out(32)},
        {"same_place_twice", 0, "faults.cu:28: shared-memory race: writes what thread (0,0,0) has written, too,", out(64)},
        {"beyond_array", 700, "faults.cu:36: index 64 out of bounds of 'float [64]'", counted(65, 0)},
        {"beyond_array_by_pointer", 700, "faults.cu:43: 4 bytes out of bounds of a shared array, row + 256 of 256",
         counted(65, 0)},
        {"beyond_dynamic", 700, "4 bytes at offset 128 of the launch's 128 bytes of dynamic shared memory", counted(33, 128)},
        {"beyond_global", 700, "thread (32,0,0), at faults.cu:64: reads 4 bytes outside of every allocation",
         [&](const cudasim::Module& m, const std::string& k) {
             return launch(m, k, {1, 1, 1}, {64, 1, 1}, 0, small.data(), y.data(), 32);
         }},
        {"barriers_apart", 719, "faults.cu:72: divergent barrier", out(32)},
        {"barrier_for_some", 719, "faults.cu:79: divergent barrier: thread (31,0,0) left the kernel", out(32)},
        {"barrier_and_shuffle", 719, "no thread can go on; waiting: thread 0 on, shuffle of mask 0xffffffff at faults.cu:89; thread 5",
         out(32)},
        {"shuffle_of_the_gone", 719, "the lane left the kernel, and lanes of mask 0xffffffff wait for it", out(32)},
        {"shuffle_without_itself", 719, "the mask 0xffff0000 does not name its own lane 0", out(32)},
        {"misaligned_vector", 716, "faults.cu:106: misaligned address", both(32)},
        {"missing_copy_wait", 0, "faults.cu:115: reads shared memory that an asynchronous copy without a wait still fills", both(32)},
        {"one_group_too_few", 0, "faults.cu:126: reads shared memory that an asynchronous copy without a wait still fills",
         both(32)},
        {"copy_without_barrier", 0, "faults.cu:134: shared-memory race: reads what", both(32)},
        {"unwritten_shared", 0, "thread (31,0,0), at faults.cu:143: reads shared memory that nobody in the block has written: row + 124",
         out(32)},
        {"left_from_the_last_block", 0, "block (1,0,0), thread (31,0,0), at faults.cu:152: reads shared memory that nobody",
         out(32, 2)},
        {"divided_by_zero", 719, "faults.cu:155: integer division by zero",
         [&](const cudasim::Module& m, const std::string& k) {
             return launch(m, k, {1, 1, 1}, {32, 1, 1}, 0, whole.data(), 0);
         }},
        {"blocks_add_to_one", 0, "global-memory race: reads", out(32, 2)},
        {"neighbour_of_another_block", 0, "which another block has", out(64, 2)},
        {"global_without_barrier", 0, "global-memory race: reads", out(64)},
        {"misaligned_matrix", 716, "ldmatrix of a row at", out(32)},
    };
    for (const Fault& fault : faults) {
        int error = fault.launch(*module, fault.kernel);
        std::vector<std::string> said = violations();
        check(error == fault.error, fault.kernel + " returned " + std::to_string(error));
        std::string all;
        for (const std::string& text : said) {
            all += text + "\n";
        }
        check(all.find(fault.said) != std::string::npos, fault.kernel + " should say " + fault.said + " but says " + all);
    }
    check(module->kernel_names().size() == std::size(faults), "a kernel of faults.cu is not run");
}

void run_compiler(const Folders& folders) {
    std::string code;
    auto result = compile("broken.cu", "extern \"C\" __global__ void k(float* y) {\n    y[0] = undeclared;\n}\n", folders, &code);
    check(result.first == 6, "a source with an error gives " + std::to_string(result.first));
    check(result.second.find("broken.cu:2:12: error: 'undeclared'") != std::string::npos ||
              result.second.find("undeclared") != std::string::npos,
          "the log of an error: " + result.second);
    bool refused = false;
    try {
        cudasim::Module module(std::string(4096, 'x').data());
    } catch (const std::exception&) {
        refused = true;
    }
    check(refused, "bytes that are no code are loaded");
}

}  // namespace selftest
