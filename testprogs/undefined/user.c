/* A weak function that nobody has, and one that is never called. */
#include <stddef.h>

int nobody(void) __attribute__((weak));
extern int no_variable __attribute__((weak));
int missing(void);
int user_calls(void);

int user_calls(void)
{
    if (nobody != NULL)
        return nobody();
    return &no_variable == NULL ? 1 : missing();
}
