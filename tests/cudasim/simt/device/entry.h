// How a kernel becomes an entry of the module's table.
#pragma once

namespace cudasim {

template <unsigned... index>
struct Indices {};

// Runs a kernel with arguments from memory, as cuLaunchKernel hands them over.
template <auto kernel>
struct Entry;

template <typename... Parameter, void (*kernel)(Parameter...)>
struct Entry<kernel> {
    static constexpr unsigned kParameters = sizeof...(Parameter);
    static constexpr unsigned kParameterBytes[] = {sizeof(Parameter)..., 0};

    static __attribute__((no_sanitize("thread", "alignment"))) void run(void** arguments) {
        call(arguments, Indices<__integer_pack(sizeof...(Parameter))...>());
    }

   private:
    template <unsigned... index>
    static __attribute__((no_sanitize("thread", "alignment"))) void call(void** arguments, Indices<index...>) {
        kernel(*static_cast<Parameter*>(arguments[index])...);
    }
};

constexpr unsigned max_threads() { return 1024; }
constexpr unsigned max_threads(int threads, int = 1) { return static_cast<unsigned>(threads); }

template <auto kernel>
constexpr KernelEntry entry(const char* name, unsigned max_threads) {
    return {name, Entry<kernel>::run, Entry<kernel>::kParameterBytes, Entry<kernel>::kParameters, max_threads};
}

}  // namespace cudasim

// The bounds of the section of shared variables, from the linker; absent where there is none.
extern "C" {
extern __attribute__((weak, visibility("hidden"))) unsigned char __start_cudasim_shared[];
extern __attribute__((weak, visibility("hidden"))) unsigned char __stop_cudasim_shared[];
}
