#include "compile.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "../checks.h"
#include "kernels.h"

extern char** environ;

// The emulator's headers, carried along so that the library stands alone.
#define CUDASIM_EMBED(name, file)                                                                          \
    __asm__(".pushsection .rodata\n.globl " #name "\n.hidden " #name "\n" #name ":\n.incbin \"" CUDASIM_DEVICE_FOLDER "/" file \
            "\"\n.byte 0\n.popsection\n");                                                                 \
    extern "C" const char name[];

CUDASIM_EMBED(cudasim_abi_h, "abi.h")
CUDASIM_EMBED(cudasim_simt_h, "simt.h")
CUDASIM_EMBED(cudasim_simt_math_h, "simt_math.h")
CUDASIM_EMBED(cudasim_sanitize_h, "sanitize.h")
CUDASIM_EMBED(cudasim_entry_h, "entry.h")

namespace cudasim {

namespace {

namespace fs = std::filesystem;

const SourceFile* emulator_files(size_t& count) {
    static const SourceFile files[] = {{"abi.h", cudasim_abi_h},
                                       {"simt.h", cudasim_simt_h},
                                       {"simt_math.h", cudasim_simt_math_h},
                                       {"sanitize.h", cudasim_sanitize_h},
                                       {"entry.h", cudasim_entry_h}};
    count = std::size(files);
    return files;
}

std::string read(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

void write(const fs::path& file, const std::string& text) {
    std::ofstream out(file, std::ios::binary);
    out << text;
    if (!out.flush()) {
        throw std::runtime_error("cannot write " + file.string());
    }
}

// A folder that only this user enters, gone with the object.
class PrivateFolder {
   public:
    PrivateFolder() {
        std::string name = fs::temp_directory_path() / "cudasim-nvrtc-XXXXXX";
        if (mkdtemp(name.data()) == nullptr) {
            throw std::runtime_error("a folder " + name + ": " + strerror(errno));
        }
        path_ = name;
    }
    ~PrivateFolder() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }
    PrivateFolder(const PrivateFolder&) = delete;
    PrivateFolder& operator=(const PrivateFolder&) = delete;
    const fs::path& path() const { return path_; }

   private:
    fs::path path_;
};

// Runs g++ in a folder; what it says is added to the log.
bool run_compiler(const fs::path& folder, const std::vector<std::string>& options, std::string& log) {
    std::vector<std::string> words = {"g++"};
    words.insert(words.end(), options.begin(), options.end());
    std::vector<char*> arguments;
    for (std::string& word : words) {
        arguments.push_back(word.data());
    }
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
    posix_spawn_file_actions_addopen(&actions, 1, "log", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    pid_t child = 0;
    int error = posix_spawnp(&child, "g++", &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) {
        throw std::runtime_error(std::string("the simulated NVRTC calls g++, which cannot be run: ") + strerror(error));
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) {
            throw std::runtime_error(std::string("waiting for g++: ") + strerror(errno));
        }
    }
    log += read(folder / "log");
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

std::vector<std::string> code_options(bool checked) {
    // Fused multiply-adds, as a GPU's compiler makes them, where this processor has them.
    std::vector<std::string> options = {"-std=c++17", "-O2", "-gdwarf-4", "-g1", "-fPIC", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti",
                                        "-fno-stack-protector", "-ffp-contract=fast", "-fno-math-errno", "-w"};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        options.emplace_back("-march=x86-64-v3");
    }
    if (checked) {
        // A read that moves out of the loop, and out of the condition within it, would be one that the source does not make.
        options.insert(options.end(), {"-fno-tree-loop-im", "-fsanitize=thread,alignment,bounds,integer-divide-by-zero",
                                       "--param=tsan-instrument-func-entry-exit=0"});
    }
    return options;
}

void check_name(const std::string& name) {
    if (name.empty() || name.find('/') != std::string::npos || name[0] == '.') {
        throw std::runtime_error("the file name " + name + " is not a plain one");
    }
}

Compiled compile_afresh(const SourceFile& source, const std::vector<SourceFile>& headers,
                        const std::vector<std::string>& definitions, bool checked) {
    PrivateFolder folder;
    fs::create_directory(folder.path() / "emulator");
    size_t count = 0;
    const SourceFile* files = emulator_files(count);
    for (size_t x = 0; x < count; x++) {
        write(folder.path() / "emulator" / files[x].name, files[x].text);
    }
    for (const SourceFile& header : headers) {
        check_name(header.name);
        write(folder.path() / header.name, header.text);
    }
    check_name(source.name);
    write(folder.path() / source.name, source.text);
    // Without a name for their namespace, templates and their shared variables are this file's own.
    write(folder.path() / "wrapper.cpp",
          "#include \"emulator/simt.h\"\nnamespace {\n#include \"" + source.name + "\"\n}\n");

    Compiled result{false, "", ""};
    std::vector<std::string> preprocess = {"-E", "-std=c++17", "wrapper.cpp", "-o", "source.ii"};
    preprocess.insert(preprocess.end(), definitions.begin(), definitions.end());
    if (checked) {
        preprocess.emplace_back("-DCUDASIM_CHECKED");
    }
    if (!run_compiler(folder.path(), preprocess, result.log)) {
        return result;
    }
    std::string text = read(folder.path() / "source.ii");
    write(folder.path() / "source.ii", text + kernel_table(text, checked));
    std::vector<std::string> options = code_options(checked);
    options.insert(options.end(), {"-S", "source.ii", "-o", "listing.s"});
    if (!run_compiler(folder.path(), options, result.log)) {
        return result;
    }
    write(folder.path() / "code.s", with_shared_section(read(folder.path() / "listing.s")));
    result.succeeded =
        run_compiler(folder.path(), {"-shared", "-Wl,-z,defs", "code.s", "-o", "code.so", "-lm"}, result.log);
    if (result.succeeded) {
        result.code = read(folder.path() / "code.so");
    }
    return result;
}

// 128 bits of FNV-1a over texts and their ends: what is kept under a name has no foes, since only this user writes there.
class Hash {
   public:
    void add(const std::string& text) {
        for (char c : text) {
            step(static_cast<unsigned char>(c));
        }
        step(256);
    }

    std::string hex() const {
        char text[33];
        snprintf(text, sizeof(text), "%016llx%016llx", static_cast<unsigned long long>(value_ >> 64),
                 static_cast<unsigned long long>(value_));
        return text;
    }

   private:
    void step(unsigned symbol) {
        value_ = (value_ ^ symbol) * ((static_cast<unsigned __int128>(1) << 88) + 0x13b);
    }

    unsigned __int128 value_ = static_cast<unsigned __int128>(0x6c62272e07bb0142) << 64 | 0x62b821756295c58d;
};

// The folder of compiled kernels, which this user alone may enter, since what lies there is run.
fs::path cache_folder() {
    const char* named = getenv("CUDASIM_CACHE");
    fs::path folder = named != nullptr ? fs::path(named) : fs::temp_directory_path() / ("cudasim-" + std::to_string(getuid()));
    mkdir(folder.c_str(), 0700);
    struct stat status;
    if (lstat(folder.c_str(), &status) != 0 || !S_ISDIR(status.st_mode) || status.st_uid != getuid() ||
        (status.st_mode & 077) != 0) {
        throw std::runtime_error("the cache " + folder.string() +
                                 " must be a folder of this user that nobody else enters (mode 700); name another in CUDASIM_CACHE");
    }
    return folder;
}

}  // namespace

Compiled compile(const SourceFile& source, const std::vector<SourceFile>& headers, const std::vector<std::string>& definitions) {
    bool checked = checks_wanted();
    Hash hash;
    hash.add(__VERSION__);
    size_t count = 0;
    const SourceFile* files = emulator_files(count);
    for (size_t x = 0; x < count; x++) {
        hash.add(files[x].text);
    }
    hash.add(source.name);
    hash.add(source.text);
    for (const SourceFile& header : headers) {
        hash.add(header.name);
        hash.add(header.text);
    }
    for (const std::string& option : code_options(checked)) {
        hash.add(option);
    }
    for (const std::string& definition : definitions) {
        hash.add(definition);
    }
    fs::path kept = cache_folder() / (hash.hex() + ".so");
    if (fs::exists(kept)) {
        return {true, "", read(kept)};
    }
    Compiled result = compile_afresh(source, headers, definitions, checked);
    if (result.succeeded) {
        fs::path part = kept;
        part += "." + std::to_string(getpid()) + "." + std::to_string(reinterpret_cast<uintptr_t>(&result)) + ".part";
        write(part, result.code);
        fs::rename(part, kept);
    }
    return result;
}

}  // namespace cudasim
