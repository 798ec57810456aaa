/* libv.so is VERSION 1, libv2.so is VERSION 2 with other functions at the same addresses. */
#include <stdlib.h>

int library_version(void);

#if VERSION == 2
int other_function(int value);
int another_function(int value);

int other_function(int value)
{
    return value * (int)labs(-2);
}

int another_function(int value)
{
    return other_function(value) + rand();
}
#endif

int library_version(void)
{
    return VERSION * abs(-1); /* break: version */
}
