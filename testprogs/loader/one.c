/* libone.so: something to open, also under odd names. */
#include <stdlib.h>

int one(void);

int one(void)
{
    return abs(-1);
}
