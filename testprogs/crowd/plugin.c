/* CROWD threads (4 if the environment does not say) that all wait in one function, but for the last
   one, which waits in another. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../common/waits.h"

int plugin_run(void);

static sem_t begun, end;
static volatile int last_begun;

static void begin(void)
{
    last_begun = (int)syscall(SYS_gettid);
    sem_post(&begun);
}

static void *work(void *argument)
{
    begin();
    sem_wait(&end);
    return argument;
}

static void *other_work(void *argument)
{
    pthread_setname_np(pthread_self(), "other");
    begin();
    sem_wait(&end);
    return argument;
}

int plugin_run(void)
{
    const char *text = getenv("CROWD");
    int count = text != NULL ? atoi(text) : 4;
    pthread_attr_t attributes;
    pthread_t thread;

    sem_init(&begun, 0, 0);
    sem_init(&end, 0, 0);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 << 10);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (int i = 1; i <= count; i++) {
        if (pthread_create(&thread, &attributes, i < count ? work : other_work, NULL) != 0)
            return 3;
        sem_wait(&begun);
        while (!waits(last_begun))
            sched_yield();
    }
    if (getenv("CROWD_ABORT") != NULL)
        abort();
    printf("all are there\n"); /* break: crowded */
    return 0;
}
