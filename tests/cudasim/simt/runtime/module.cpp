#include "module.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "../checks.h"

namespace cudasim {

namespace {

size_t elf_bytes(const Elf64_Ehdr& header) {
    return header.e_shoff + static_cast<size_t>(header.e_shnum) * header.e_shentsize;
}

std::string own_file(int file) { return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(file); }

// A local variable's own name out of "function<arguments>(...)::name".
std::string short_name(const char* symbol) {
    int status = 0;
    char* demangled = abi::__cxa_demangle(symbol, nullptr, nullptr, &status);
    std::string name = status == 0 ? demangled : symbol;
    free(demangled);
    size_t colons = name.rfind("::");
    return colons == std::string::npos ? name : name.substr(colons + 2);
}

}  // namespace

std::vector<size_t> Kernel::parameter_offsets() const {
    std::vector<size_t> offsets;
    size_t end = 0;
    for (unsigned x = 0; x < entry->parameters; x++) {
        size_t bytes = entry->parameter_bytes[x];
        end = (end + bytes - 1) / bytes * bytes;
        offsets.push_back(end);
        end += bytes;
    }
    offsets.push_back(end);
    return offsets;
}

Module::Module(const void* image) {
    Elf64_Ehdr header;
    memcpy(&header, image, sizeof(header));
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_machine != EM_X86_64) {
        throw std::runtime_error("not compiled by the simulated NVRTC");
    }
    size_t bytes = elf_bytes(header);
    library_.file = memfd_create("cudasim_module", MFD_CLOEXEC);
    if (library_.file < 0 || write(library_.file, image, bytes) != static_cast<ssize_t>(bytes)) {
        throw std::runtime_error(std::string("a file in memory for a module: ") + strerror(errno));
    }
    library_.handle = dlopen(own_file(library_.file).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library_.handle == nullptr) {
        throw std::runtime_error(dlerror());
    }
    table_ = static_cast<const ModuleTable*>(dlsym(library_.handle, "cudasim_module"));
    if (table_ == nullptr || strcmp(table_->abi, kAbi) != 0) {
        throw std::runtime_error("compiled by another version of the simulated NVRTC: empty the caches of kernels");
    }
    if (table_->checked != checks_wanted()) {
        throw std::runtime_error(std::string("compiled with CUDASIM_CHECK=") + (table_->checked ? "full" : "none") +
                                 ", which is not what this process wants: give each its own cache of kernels");
    }
    Dl_info info;
    dladdr(table_, &info);
    image_ = reinterpret_cast<uint64_t>(info.dli_fbase);
    const auto* elf = static_cast<const unsigned char*>(image);
    for (int x = 0; x < header.e_phnum; x++) {
        Elf64_Phdr segment;
        memcpy(&segment, elf + header.e_phoff + static_cast<size_t>(x) * header.e_phentsize, sizeof(segment));
        if (segment.p_type == PT_LOAD) {
            image_bytes_ = std::max<uint64_t>(image_bytes_, segment.p_vaddr + segment.p_memsz);
        }
    }
    for (unsigned x = 0; x < table_->kernel_count; x++) {
        kernels_.push_back({this, &table_->kernels[x]});
    }
    read_variables(elf);
}

Module::Library::~Library() {
    if (handle != nullptr) {
        dlclose(handle);
    }
    if (file >= 0) {
        close(file);
    }
}

// Reads where the variables lie from the symbols, local ones included.
void Module::read_variables(const unsigned char* elf) {
    Elf64_Ehdr header;
    memcpy(&header, elf, sizeof(header));
    std::vector<Elf64_Shdr> sections(header.e_shnum);
    memcpy(sections.data(), elf + header.e_shoff, sections.size() * sizeof(Elf64_Shdr));
    variable_of_byte_.assign(shared_bytes(), 0);
    for (const Elf64_Shdr& section : sections) {
        if (section.sh_type != SHT_SYMTAB) {
            continue;
        }
        const char* names = reinterpret_cast<const char*>(elf + sections[section.sh_link].sh_offset);
        for (size_t at = 0; at < section.sh_size; at += sizeof(Elf64_Sym)) {
            Elf64_Sym symbol;
            memcpy(&symbol, elf + section.sh_offset + at, sizeof(symbol));
            uint64_t offset = image_ + symbol.st_value - reinterpret_cast<uint64_t>(shared());
            if (ELF64_ST_TYPE(symbol.st_info) == STT_OBJECT && offset < shared_bytes() && symbol.st_size > 0) {
                variables_.push_back({offset, offset + symbol.st_size, short_name(names + symbol.st_name)});
                std::fill(variable_of_byte_.begin() + static_cast<long>(offset),
                          variable_of_byte_.begin() + static_cast<long>(offset + symbol.st_size),
                          static_cast<uint16_t>(variables_.size()));
            }
        }
    }
}

const Kernel* Module::kernel(const std::string& name) const {
    for (const Kernel& kernel : kernels_) {
        if (name == kernel.entry->name) {
            return &kernel;
        }
    }
    return nullptr;
}

std::vector<std::string> Module::kernel_names() const {
    std::vector<std::string> names;
    for (const Kernel& kernel : kernels_) {
        names.emplace_back(kernel.entry->name);
    }
    return names;
}

size_t Module::declared_shared_bytes() const {
    size_t bytes = 0;
    for (const SharedVariable& variable : variables_) {
        bytes += variable.end - variable.begin;
    }
    return bytes;
}

const SharedVariable* Module::variable(size_t offset) const {
    uint16_t number = variable_of_byte_[offset];
    return number == 0 ? nullptr : &variables_[number - 1u];
}

const std::string& Module::lines(const void* code) {
    auto found = lines_.find(code);
    return found != lines_.end() ? found->second : lines_[code] = find_lines(code);
}

std::string Module::find_lines(const void* code) const {
    // The byte before the return address belongs to the call.
    char command[128];
    snprintf(command, sizeof(command), "addr2line -i -s -e %s %#llx 2>/dev/null", own_file(library_.file).c_str(),
             static_cast<unsigned long long>(reinterpret_cast<uint64_t>(code) - image_ - 1));
    FILE* output = popen(command, "r");
    if (output == nullptr) {
        return "unknown line";
    }
    std::string lines;
    char line[256];
    while (fgets(line, sizeof(line), output) != nullptr) {
        line[strcspn(line, " \n")] = 0;
        bool emulator = strstr(line, "simt") == line || strncmp(line, "entry.h", 7) == 0;
        if (strncmp(line, "??", 2) != 0 && !emulator) {
            lines += (lines.empty() ? "" : " in ") + std::string(line);
        }
    }
    pclose(output);
    return lines.empty() ? "unknown line" : lines;
}

}  // namespace cudasim
