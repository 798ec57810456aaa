/* -fno-plt: calls go through GLOB_DAT slots, and there is no JUMP_SLOT for them. */
#include <stdlib.h>

int plugin_run(void);

int plugin_run(void)
{
    return abs(-3) - (int)labs(-3);
}
