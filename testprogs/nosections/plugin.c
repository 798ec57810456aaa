/* The Makefile takes its section headers away: the dynamic linker never reads them. */
#include <stdlib.h>

int plugin_run(void);
int never(void);

int plugin_run(void)
{
    return abs(-3) - 3;
}

int never(void)
{
    return rand();
}
