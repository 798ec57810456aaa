/* A registry that its own constructor sets up. */
#include <stdlib.h>

int register_name(const char *name);

static const char **names;
static int count;

__attribute__((constructor)) static void set_up(void)
{
    names = calloc(16, sizeof *names);
}

int register_name(const char *name)
{
    names[count++] = name;
    return count;
}
