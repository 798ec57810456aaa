/* CROWD threads (4 if the environment does not say) that all wait in one function, but for the last
   one, which waits in another. */
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

int plugin_run(void);

static sem_t begun, end;

static void *work(void *argument)
{
    sem_post(&begun);
    sem_wait(&end);
    return argument;
}

static void *other_work(void *argument)
{
    pthread_setname_np(pthread_self(), "other");
    sem_post(&begun);
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
    for (int i = 1; i <= count; i++)
        if (pthread_create(&thread, &attributes, i < count ? work : other_work, NULL) != 0)
            return 3;
    for (int i = 0; i < count; i++)
        sem_wait(&begun);
    if (getenv("CROWD_ABORT") != NULL)
        abort();
    printf("all are there\n"); /* break: crowded */
    return 0;
}
