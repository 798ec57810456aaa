/* A library's function NAME, which says VALUE; ATTRIBUTE is, say, weak. */
#ifndef ATTRIBUTE
#define ATTRIBUTE unused
#endif

int NAME(void) __attribute__((ATTRIBUTE));

int NAME(void)
{
    return VALUE;
}
