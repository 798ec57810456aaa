/* One library in three namespaces: the base one and two that dlmopen makes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static void *checked(void *handle)
{
    if (handle == NULL) {
        fprintf(stderr, "host: %s\n", dlerror());
        exit(2);
    }
    return handle;
}

static int bump(void *handle)
{
    int (*function)(void) = (int (*)(void))checked(dlsym(handle, "bump"));
    return function();
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    void *base = checked(dlopen("libns.so", RTLD_LAZY));
    printf("one namespace\n"); /* break: one */
    void *second = checked(dlmopen(LM_ID_NEWLM, "libns.so", RTLD_LAZY));
    void *third = checked(dlmopen(LM_ID_NEWLM, "libns.so", RTLD_LAZY));

    bump(base);
    bump(second);
    bump(second);
    printf("%d %d %d\n", bump(base), bump(second), bump(third)); /* break: loaded */
    return 0;
}
