/* libplugin.so: calls that are bound, calls that stay lazy, and a pointer to data. */
#include <stdlib.h>
#include <string.h>

extern int shared_number;
int twin(void);
int other_function(void);
int plugin_run(void);
int plugin_unused(void);

int plugin_run(void)
{
    char text[8];
    memcpy(text, "four", 5);
    return twin() + other_function() + shared_number + (int)strlen(text) + abs(-100);
}

int plugin_unused(void)
{
    return rand() + (int)labs(random());
}
