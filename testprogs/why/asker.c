/* Fails in two threads: another one opens what is nowhere, and then the main one asks for a symbol that
   libnames.so does not have. Nobody calls dlerror. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

static pthread_barrier_t failed, over;

static void *opens_nothing(void *unused)
{
    (void)unused;
    if (dlopen("libnowhere.so", RTLD_NOW) != NULL)
        printf("opened libnowhere.so\n");
    pthread_barrier_wait(&failed);
    pthread_barrier_wait(&over);
    return NULL;
}

int main(void)
{
    pthread_t thread;
    void *handle = dlopen("libnames.so", RTLD_NOW);

    pthread_barrier_init(&failed, NULL, 2);
    pthread_barrier_init(&over, NULL, 2);
    if (pthread_create(&thread, NULL, opens_nothing, NULL) != 0)
        return 1;
    pthread_barrier_wait(&failed);
    if (handle != NULL && dlsym(handle, "libnames_misspeld") == NULL)
        printf("no symbol\n"); /* break: asked */
    pthread_barrier_wait(&over);
    pthread_join(thread, NULL);
    return 0;
}
