/* libfull.so, libpartial.so, libnone.so and libnonenow.so: one source, linked in four ways.
   called() is called by the host, uncalled() is not. */
#include <stdlib.h>

int called(void);
int uncalled(void);
const char *const names[] = { "relative", "relocations", "in RELRO" };

int called(void)
{
    return abs(-3);
}

int uncalled(void)
{
    return rand() + names[0][0];
}
