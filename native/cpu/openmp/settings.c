/* OpenMP's library reads its environment once, when it is loaded, and Java cannot set an environment variable.
   So this library is loaded before it. Waiting threads spin for a short while before they sleep: the gaps between two
   operations of a training step are shorter than a sleep and a wake-up, but several ranks may share the machine, so
   they must not spin for ever. A value set by the user stays. */
#include <stdlib.h>

__attribute__((constructor)) static void set_wait_policy(void) {
    if (getenv("OMP_WAIT_POLICY") == NULL) {
        setenv("GOMP_SPINCOUNT", "20000", 0);
    }
}
