/* Each copy has its own counter, and needs libc, so that every namespace has a libc of its own. */
#include <stdlib.h>

static int counter;
int bump(void);

int bump(void)
{
    counter += abs(-1);
    return counter;
}
