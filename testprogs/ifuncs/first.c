/* twin's resolver gives a function of this library, borrowed's one of libc. */
#include <stdlib.h>

int twin(void);
int borrowed(int);

static int one(void)
{
    return 1;
}

static int (*resolve_twin(void))(void)
{
    return one;
}

static int (*resolve_borrowed(void))(int)
{
    return abs;
}

int twin(void) __attribute__((ifunc("resolve_twin")));
int borrowed(int) __attribute__((ifunc("resolve_borrowed")));
