/* OpenMP's library reads its environment once, when it is loaded, and Java cannot set an environment variable.
   So this library is loaded before it. Waiting threads spin before they sleep: an operation that finds its team awake
   starts in 1.5 us, and in 8 us when it has to be woken. But other ranks may share the machine, and who spins keeps the
   thread that he waits for off the core: 2,000 rounds are about 0.1 ms. A value set by the user stays. */
#include <stdlib.h>

__attribute__((constructor)) static void set_wait_policy(void) {
    if (getenv("OMP_WAIT_POLICY") == NULL) {
        setenv("GOMP_SPINCOUNT", "2000", 0);
    }
}
