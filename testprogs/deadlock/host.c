/* Loads libplugin.so, whose constructor waits for a thread that waits for the dynamic linker. A
   watcher reaches the marker once both wait in the kernel; ABORT in the environment ends it there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../common/waits.h"

void announce(int tid);
static int main_tid;
static volatile int thread_tid;

/* The plugin's thread says who it is. */
void announce(int tid)
{
    thread_tid = tid;
}

static void *watch(void *unused)
{
    while (thread_tid == 0 || !waits(main_tid) || !waits(thread_tid))
        sched_yield();
    if (getenv("ABORT") != NULL)
        abort();
    return unused; /* break: deadlocked */
}

int main(void)
{
    pthread_t watcher;

    setvbuf(stdout, NULL, _IOLBF, 0);
    main_tid = (int)syscall(SYS_gettid);
    pthread_create(&watcher, NULL, watch, NULL);
    printf("loading\n");
    void *handle = dlopen("libplugin.so", RTLD_NOW);
    printf("%d\n", handle != NULL);
    return 0;
}
