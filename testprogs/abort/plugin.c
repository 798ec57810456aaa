/* Gives up by abort(), as a failed assertion does. */
#include <stdlib.h>

int plugin_run(void);

int plugin_run(void)
{
    abort(); /* break: crash */
}
