#include "kernels.h"

#include <cctype>
#include <sstream>
#include <vector>

namespace cudasim {

namespace {

constexpr size_t kRedZone = 64;

struct Declaration {
    std::string name, bounds;
};

bool in_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// The end of a parenthesis that opens at `open`.
size_t closing(const std::string& text, size_t open) {
    int depth = 0;
    for (size_t x = open; x < text.size(); x++) {
        depth += text[x] == '(' ? 1 : text[x] == ')' ? -1 : 0;
        if (depth == 0) {
            return x;
        }
    }
    return text.size();
}

// Reads what follows the mark of a kernel: words, attributes, and the name before the parameters.
Declaration declaration(const std::string& text, size_t at) {
    static const std::string kBounds = "cudasim_launch_bounds";
    Declaration found;
    std::string word;
    while (at < text.size()) {
        if (in_name(text[at])) {
            size_t begin = at;
            while (at < text.size() && in_name(text[at])) {
                at++;
            }
            word = text.substr(begin, at - begin);
        } else if (text[at] == '(') {
            size_t end = closing(text, at);
            if (word != "__attribute__") {
                found.name = word;
                return found;
            }
            size_t bounds = text.find(kBounds, at);
            if (bounds < end) {
                size_t open = bounds + kBounds.size();
                found.bounds = text.substr(open, closing(text, open) + 1 - open);
            }
            at = end + 1;
        } else {
            at++;
        }
    }
    return found;
}

}  // namespace

std::string kernel_table(const std::string& preprocessed, bool checked) {
    static const std::string kMark = "__attribute__((cudasim_kernel))";
    std::ostringstream entries;
    std::vector<std::string> names;
    for (size_t at = preprocessed.find(kMark); at != std::string::npos; at = preprocessed.find(kMark, at + 1)) {
        Declaration kernel = declaration(preprocessed, at + kMark.size());
        bool known = false;
        for (const std::string& name : names) {
            known |= name == kernel.name;
        }
        if (!known) {
            names.push_back(kernel.name);
            entries << "    cudasim::entry<" << kernel.name << ">(\"" << kernel.name << "\", cudasim::max_threads"
                    << (kernel.bounds.empty() ? "()" : kernel.bounds) << "),\n";
        }
    }
    std::ostringstream table;
    table << "\n# 1 \"entries\"\nnamespace {\nconstexpr cudasim::KernelEntry cudasim_kernels[] = {\n"
          << entries.str() << "    {nullptr, nullptr, nullptr, 0, 0}};\n}\n"
          << "extern \"C\" __attribute__((visibility(\"default\"))) const cudasim::ModuleTable cudasim_module = {cudasim::kAbi, "
          << (checked ? "true" : "false") << ", &cudasim_state, __start_cudasim_shared, __stop_cudasim_shared, cudasim_kernels, "
          << names.size() << "};\n";
    return table.str();
}

// Static variables without a value, which the shared ones are alone in being, come as ".local name" and ".comm name,size,alignment".
std::string with_shared_section(const std::string& assembly) {
    std::istringstream lines(assembly);
    std::ostringstream out;
    std::string line, local;
    while (std::getline(lines, line)) {
        if (line.rfind("\t.local\t", 0) == 0) {
            local = line.substr(8);
            continue;
        }
        if (local.empty() || line.rfind("\t.comm\t" + local + ",", 0) != 0) {
            out << line << '\n';
            continue;
        }
        size_t comma = line.rfind(',');
        size_t size_at = 8 + local.size();
        std::string size = line.substr(size_at, comma - size_at);
        out << "\t.pushsection cudasim_shared,\"aw\",@nobits\n\t.zero " << kRedZone << "\n\t.balign " << line.substr(comma + 1)
            << "\n\t.type " << local << ", @object\n\t.size " << local << ", " << size << '\n'
            << local << ":\n\t.zero " << size << "\n\t.zero " << kRedZone << "\n\t.popsection\n";
        local.clear();
    }
    return out.str();
}

}  // namespace cudasim
