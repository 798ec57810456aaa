/* A constructor that waits for its own thread, by pthread_join or, with CONDITION in the
   environment, by a condition variable; that thread needs the dynamic linker first. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

void announce(int tid);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int done;

static void *start_up(void *unused)
{
    pthread_setname_np(pthread_self(), "start-up");
    announce((int)syscall(SYS_gettid));
    void *found = dlsym(RTLD_DEFAULT, "getenv");
    pthread_mutex_lock(&mutex);
    done = found != NULL;
    pthread_cond_signal(&condition);
    pthread_mutex_unlock(&mutex);
    return unused;
}

__attribute__((constructor)) static void begin(void)
{
    pthread_t thread;

    pthread_create(&thread, NULL, start_up, NULL);
    if (getenv("CONDITION") == NULL) {
        pthread_join(thread, NULL);
        return;
    }
    pthread_mutex_lock(&mutex);
    while (!done)
        pthread_cond_wait(&condition, &mutex);
    pthread_mutex_unlock(&mutex);
}
