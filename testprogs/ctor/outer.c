/* Its constructor opens libinner.so. */
#include <dlfcn.h>
#include <stdio.h>

__attribute__((constructor)) static void begin(void)
{
    puts("outer begins");
    if (dlopen("libinner.so", RTLD_LAZY) == NULL) /* break: nested */
        puts(dlerror());
    puts("outer has begun");
}
