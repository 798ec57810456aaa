/* Holds another library for as long as it is loaded itself. */
#include <dlfcn.h>

int keeper(void);

static void *held;

int keeper(void)
{
    return held != 0;
}

__attribute__((constructor)) static void keeper_begins(void)
{
    held = dlopen("lib2.so", RTLD_NOW);
}

__attribute__((destructor)) static void keeper_ends(void)
{
    dlclose(held);
}
