/* Calls a weak function that nothing defines, and has a handler that gives up by abort(), as
   databases and language runtimes do to say more about a crash before they end. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

void optional_feature(int value) __attribute__((weak));
int plugin_run(void);

static void give_up(int number)
{
    (void)number;
    abort();
}

int plugin_run(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = give_up;
    sigaction(SIGSEGV, &action, NULL);
    optional_feature(3); /* break: crash */
    return 1;
}
