/* libwants.so: requires both versions, the newer one weakly (weak_version.py marks it so). */
#include <stddef.h>

int older(void);
int newer(void) __attribute__((weak));
int wants(void);

int wants(void)
{
    return older() + (newer != NULL ? newer() : 0);
}
