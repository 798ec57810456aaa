/* Linked so that its first PT_LOAD is not at zero: its addresses are not offsets from its start. */
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
