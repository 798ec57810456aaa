/* Starts three threads that stay inside the plugin; the third reads through a null pointer if the
   environment says THREADS_CRASH. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS 3

static pthread_barrier_t started, finish;
int plugin_run(void);

static int *broken_lookup(long number)
{
    static int fine;
    return number == THREADS && getenv("THREADS_CRASH") != NULL ? NULL : &fine;
}

static void *work(void *argument)
{
    pthread_barrier_wait(&started);
    int value = *broken_lookup((long)argument); /* break: crash */
    pthread_barrier_wait(&finish);
    return argument + value;
}

int plugin_run(void)
{
    pthread_t threads[THREADS];

    pthread_barrier_init(&started, NULL, THREADS + 1);
    pthread_barrier_init(&finish, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, (void *)(i + 1));
    pthread_barrier_wait(&started);
    printf("threads run\n"); /* break: threads */
    pthread_barrier_wait(&finish);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
