/* Opens libraries and calls functions in them as its arguments say, one step each:
     open:FLAGS:LIBRARY     dlopen; FLAGS are letters: l lazy, n now, g global, d deepbind
     space:FLAGS:LIBRARY    dlmopen into a new namespace; inside:FLAGS:LIBRARY into the same one
     call:LIBRARY:FUNCTION  call an int (void) that dlsym finds in the last LIBRARY opened
     close:LIBRARY */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef RTLD_DEEPBIND /* musl has neither */
#define RTLD_DEEPBIND 0
#define NO_NAMESPACES
#endif

enum { MOST = 32 };
static struct { const char *library; void *handle; } opened[MOST];
static int count;
#ifndef NO_NAMESPACES
static Lmid_t space;
#endif

static int flags_of(const char *letters)
{
    int flags = strchr(letters, 'n') ? RTLD_NOW : RTLD_LAZY;
    if (strchr(letters, 'g'))
        flags |= RTLD_GLOBAL;
    if (strchr(letters, 'd'))
        flags |= RTLD_DEEPBIND;
    return flags;
}

static void *open_library(const char *step, const char *library, int flags)
{
#ifndef NO_NAMESPACES
    if (strcmp(step, "open") != 0) {
        int fresh = strcmp(step, "space") == 0;
        void *handle = dlmopen(fresh ? LM_ID_NEWLM : space, library, flags);
        if (handle != NULL && fresh)
            dlinfo(handle, RTLD_DI_LMID, &space);
        return handle;
    }
#endif
    (void)step;
    return dlopen(library, flags);
}

static void *handle_of(const char *library)
{
    for (int i = count - 1; i >= 0; i--)
        if (strcmp(opened[i].library, library) == 0)
            return opened[i].handle;
    fprintf(stderr, "opener: %s was not opened\n", library);
    exit(2);
}

static void take(char *argument)
{
    char *step = strtok(argument, ":"), *second = strtok(NULL, ":"), *third = strtok(NULL, ":");

    if (strcmp(step, "close") == 0) {
        printf("close %s %d\n", second, dlclose(handle_of(second)));
    } else if (strcmp(step, "call") == 0) {
        int (*function)(void) = (int (*)(void))dlsym(handle_of(second), third);
        if (function == NULL)
            printf("%s no %s\n", second, third);
        else
            printf("%s %s %d\n", second, third, function());
    } else {
        void *handle = count < MOST ? open_library(step, third, flags_of(second)) : NULL;
        if (handle == NULL) {
            printf("cannot open %s: %s\n", third, dlerror());
            exit(2);
        }
        opened[count].library = third;
        opened[count++].handle = handle;
    }
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i++)
        take(argv[i]);
    printf("loaded\n"); /* break: loaded */
    return 0;
}
