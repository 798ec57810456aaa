/* A constructor and a destructor that print; libinner.so is the same under another name. */
#include <stdio.h>

__attribute__((constructor)) static void begin(void)
{
    puts(NAME " begins"); /* break: constructor */
}

__attribute__((destructor)) static void finish(void)
{
    puts(NAME " ends"); /* break: destructor */
}
