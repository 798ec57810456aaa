/* The same with a handler that faults itself, as one that unwinds a damaged stack. */
#include <signal.h>
#include <string.h>

void optional_feature(int value) __attribute__((weak));
int plugin_run(void);

static void look_around(int number)
{
    *(volatile int *)8 = number;
}

int plugin_run(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = look_around;
    action.sa_flags = (int)SA_RESETHAND;
    sigaction(SIGSEGV, &action, NULL);
    optional_feature(3);
    return 1;
}
