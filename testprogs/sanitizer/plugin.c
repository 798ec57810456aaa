/* libplugin.so: calls functions that the sanitizer has its own of. */
#include <stdlib.h>
#include <string.h>

char *plugin_run(const char *text);

char *plugin_run(const char *text)
{
    char *copy = malloc(strlen(text) + 1);
    memcpy(copy, text, strlen(text) + 1);
    return copy;
}
