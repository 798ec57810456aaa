/* Raises SIGSEGV on purpose, many times, handles it and goes on, as HotSpot does for null checks.
   The program ends with status 7. */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define TIMES 20

static sigjmp_buf recovery;
static volatile sig_atomic_t handled;
int plugin_run(void);

static void on_segv(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    (void)context;
    handled++;
    siglongjmp(recovery, 1);
}

static void implicit_null_check(volatile int *object)
{
    if (sigsetjmp(recovery, 1) == 0)
        *object = 1; /* break: crash */
}

int plugin_run(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_segv;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, NULL);
    for (int i = 0; i < TIMES; i++)
        implicit_null_check(NULL);
    printf("recovered %d\n", (int)handled); /* break: recovered */
    return 7;
}
