/* An integer division by zero. arm64 gives 0 for one and does not trap, so there the signal is raised. */
#include <signal.h>

#ifdef __x86_64__
static volatile int one = 1, zero; /* volatile: gcc has another way to divide a 1 */
#define TRAP() (one / zero)
#else
#define TRAP() raise(SIGFPE)
#endif

int plugin_run(void);

int plugin_run(void)
{
    return TRAP(); /* break: crash */
}
