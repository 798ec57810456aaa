/* libopener.so: a plugin that opens another one, which only its own RUNPATH leads to. */
#include <dlfcn.h>
#include <stdio.h>

__attribute__((constructor)) static void open_inner(void)
{
    if (dlopen("libinner.so", RTLD_NOW) == NULL)
        printf("failed: %s\n", dlerror());
}
