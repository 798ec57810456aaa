/* Four threads open a library each, at the same time. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#define THREADS 4

static pthread_barrier_t start;
static const char *const names[THREADS] = { "lib1.so", "lib2.so", "lib3.so", "lib4.so" };

static void *work(void *argument)
{
    pthread_barrier_wait(&start);
    return dlopen(argument, RTLD_NOW | RTLD_GLOBAL); /* break: dlopen */
}

int main(void)
{
    pthread_t threads[THREADS];
    void *handle;
    int opened = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    pthread_barrier_init(&start, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, (void *)names[i]);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &handle);
        opened += handle != NULL;
    }
    printf("opened %d\n", opened); /* break: loaded */
    return 0;
}
