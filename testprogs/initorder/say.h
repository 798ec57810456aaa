/* One line to standard output, without stdio: each namespace has its own, and only one is flushed at exit. */
#include <string.h>
#include <unistd.h>

static void say(const char *text)
{
    char line[128];
    size_t size = strlen(text);
    memcpy(line, text, size);
    line[size] = '\n';
    if (write(1, line, size + 1) < 0)
        _exit(1);
}
