/* A constructor that starts two threads; its destructor ends them. */
#include <pthread.h>
#include <semaphore.h>

static pthread_t threads[2];
static sem_t end;

static void *work(void *argument)
{
    sem_wait(&end);
    return argument;
}

__attribute__((constructor)) static void threads_begin(void)
{
    sem_init(&end, 0, 0);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], 0, work, 0);
}

__attribute__((destructor)) static void threads_end(void)
{
    for (int i = 0; i < 2; i++)
        sem_post(&end);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], 0);
}
