/* Opens a library with a constructor, then one whose constructor opens another. */
#include <dlfcn.h>
#include <stdio.h>

static void *open_one(const char *name)
{
    printf("opening %s\n", name); /* break: opening */
    return dlopen(name, RTLD_NOW); /* break: dlopen */
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    void *simple = open_one("libsimple.so");
    void *outer = open_one("libouter.so");
    void *missing = open_one("libmissing.so");
    printf("%d %d %d\n", simple != NULL, outer != NULL, missing != NULL); /* break: loaded */
    if (simple != NULL)
        dlclose(simple);
    printf("closed\n"); /* break: closed */
    return 0;
}
