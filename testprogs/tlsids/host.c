/* TLS module ids that are used again. libone.so is used by the first worker, closed, and libtwo.so gets
   its id; then the second worker uses that. At every step each thread says where dl_iterate_phdr finds
   its blocks: "STEP THREAD MODID ADDRESS FILE"; MODID 0 is left out, no block is 0.
   With an argument it aborts in the end. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 2

typedef char *(*function)(void);

static __thread char own[24] = "own";
static pthread_barrier_t before, after;
static const char *step;
static int user; /* the thread that calls `touch` */
static function touch;

struct speaker {
    int number;
};

static int say_module(struct dl_phdr_info *info, size_t size, void *data)
{
    const struct speaker *speaker = data;
    (void)size;
    if (info->dlpi_tls_modid != 0)
        printf("%s %d %zu %#lx %s\n", step, speaker->number, info->dlpi_tls_modid,
               (unsigned long)(uintptr_t)info->dlpi_tls_data,
               info->dlpi_name[0] != '\0' ? info->dlpi_name : "-");
    return 0;
}

static void say(int number)
{
    struct speaker speaker = {number};
    if (touch != NULL && user == number)
        printf("%s %d touched %#lx\n", step, number, (unsigned long)(uintptr_t)touch());
    dl_iterate_phdr(say_module, &speaker);
    if (own[0] != 'o')
        abort();
}

static void *work(void *argument)
{
    for (;;) {
        pthread_barrier_wait(&before);
        if (step == NULL)
            return NULL;
        say((int)(intptr_t)argument);
        pthread_barrier_wait(&after);
    }
}

static void take(const char *name, int number, function function)
{
    step = name;
    user = number;
    touch = function;
    pthread_barrier_wait(&before);
    pthread_barrier_wait(&after);
    say(0);
}

static void *open_library(const char *name, function *function)
{
    void *handle = dlopen(name, RTLD_NOW);
    *function = handle == NULL ? NULL : (char *(*)(void))dlsym(handle, "touch");
    if (*function == NULL) {
        fprintf(stderr, "host: %s\n", dlerror());
        exit(2);
    }
    return handle;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    function one, two;

    (void)argv;
    setvbuf(stdout, NULL, _IOLBF, 0);
    pthread_barrier_init(&before, NULL, THREADS + 1);
    pthread_barrier_init(&after, NULL, THREADS + 1);
    for (intptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, (void *)(i + 1));
    void *handle = open_library("libone.so", &one);
    take("opened", 0, NULL);
    printf("opened\n"); /* break: opened */
    take("used", 1, one);
    printf("used\n"); /* break: used */
    dlclose(handle);
    take("closed", 0, NULL);
    printf("closed\n"); /* break: closed */
    open_library("libtwo.so", &two);
    take("reused", 0, NULL);
    printf("reused\n"); /* break: reused */
    take("both", 2, two);
    printf("both\n"); /* break: both */
    if (argc > 1)
        abort();
    step = NULL;
    pthread_barrier_wait(&before);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
