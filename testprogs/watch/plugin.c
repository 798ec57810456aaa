/* libplugin.so: one lazy slot. */
#include <stdlib.h>

int plugin_run(void);

int plugin_run(void)
{
    return abs(-3);
}
