/* A library with partial RELRO: its lazily bound slots stay writable. */
#include <unistd.h>

static int quiet(void)
{
    return 0;
}

int (*hook)(void) = quiet;
int call_hook(void);
int call_getpid(void);

int call_hook(void)
{
    return hook(); /* break: hook */
}

int call_getpid(void)
{
    return getpid(); /* break: getpid */
}
