/* Crashes whose shape hides who did it; argv[1] says which. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "shapes.h"

/* It replaces libplugin.so's default, as that is meant to be. */
int setting(int value)
{
    return call_back(value) + 1;
}

static void *in_thread(void *argument)
{
    (void)argument;
    ping(0);
    return NULL;
}

/* A stack of 64 KiB, with a guard page below it. */
static void run_in_thread(void)
{
    pthread_attr_t attributes;
    pthread_t thread;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 1 << 16);
    pthread_attr_setguardsize(&attributes, 1 << 16);
    pthread_create(&thread, &attributes, in_thread, NULL);
    pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    const char *shape = argc > 1 ? argv[1] : "";
    volatile unsigned size = 64 << 20;
    int status = 2;

    if (strcmp(shape, "wide") == 0)
        status = wide(size) + 1;
    if (strcmp(shape, "tail") == 0)
        status = tail(3) + 1;
    if (strcmp(shape, "callback") == 0)
        status = ask(3) + 1;
    if (strcmp(shape, "mutual") == 0)
        run_in_thread();
    if (strcmp(shape, "literal") == 0)
        status = rename_it() + 1;
    if (strcmp(shape, "copied") == 0)
        status = send_copy() + 1;
    printf("%d\n", status);
    return status;
}
