/* Unloads a plugin and uses what it kept of it, in the way that the first argument says.
   With a second argument it prints `ready` after the dlclose and waits for a line. */
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../common/waits.h"

struct waiting {
    sem_t end;
    volatile int tid;
};

struct operations {
    int (*run)(int);
    int (*stop)(int);
};

static void *handle;
static struct waiting waiting;
static int pauses;
/* what is kept */
int (*function)(int);
const struct operations *table;
void *page;
char *wild;

static void *symbol(const char *name)
{
    void *found = dlsym(handle, name);
    if (found == NULL) {
        fprintf(stderr, "host: %s\n", dlerror());
        exit(2);
    }
    return found;
}

static void unload(void)
{
    dlclose(handle);
    printf("ready\n"); /* break: unloaded */
    while (pauses && getchar() != '\n')
        ;
}

static void *other(void *unused)
{
    /* the rest of the process goes on as well */
    sem_wait(&waiting.end);
    return unused;
}

/* Allocates and writes what may have been ld.so's own blocks. */
static void reuse_the_heap(void)
{
    enum { BLOCKS = 4000 };
    char *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t size = 16 + i % 150 * 16;
        blocks[i] = malloc(size);
        memset(blocks[i], (int)i, size);
    }
    for (size_t i = 0; i < BLOCKS; i++)
        free(blocks[i]);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "call";
    pthread_t thread;

    pauses = argc > 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    sem_init(&waiting.end, 0, 0);
    handle = dlopen("libgone.so", RTLD_NOW);
    if (handle == NULL) {
        fprintf(stderr, "host: %s\n", dlerror());
        return 2;
    }
    function = (int (*)(int))symbol("work");
    table = symbol("operations");
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    wild = (char *)page - (1L << 40);
    memcpy(page, "\x0f\x0b\0", 4); /* ud2 on x86-64, udf on ARM64 */
    printf("%d\n", function(1)); /* break: loaded */
    if (strcmp(mode, "call") == 0) {
        unload();
        return function(1);
    }
    if (strcmp(mode, "next") == 0) { /* it may get all addresses of the first one */
        dlclose(handle);
        handle = dlopen("libnext.so", RTLD_NOW);
        if (handle == NULL)
            return 2;
        function = (int (*)(int))symbol("work");
        unload();
        return function(1);
    }
    if (strcmp(mode, "table") == 0) {
        unload();
        return table->run(1);
    }
    if (strcmp(mode, "reuse") == 0) {
        dlclose(handle);
        reuse_the_heap();
        printf("ready\n"); /* break: reused */
        while (pauses && getchar() != '\n')
            ;
        return function(1);
    }
    if (strcmp(mode, "atexit") == 0) {
        atexit((void (*)(void))symbol("handler"));
        unload();
        return 0;
    }
    if (strcmp(mode, "signal") == 0) {
        signal(SIGALRM, (void (*)(int))symbol("on_signal"));
        unload();
        raise(SIGALRM);
        return 0;
    }
    if (strcmp(mode, "back") == 0)
        return ((int (*)(void (*)(void)))symbol("call_back"))(unload);
    if (strcmp(mode, "thread") == 0) {
        pthread_create(&thread, NULL, (void *(*)(void *))symbol("wait_here"), &waiting);
        while (waiting.tid == 0 || !waits(waiting.tid))
            sched_yield();
        unload();
        sem_post(&waiting.end);
        pthread_join(thread, NULL);
    }
    if (strcmp(mode, "key") == 0) {
        pthread_key_t key;
        pthread_key_create(&key, (void (*)(void *))symbol("destructor"));
        pthread_setspecific(key, &key);
        pthread_create(&thread, NULL, other, NULL);
        unload();
        sem_post(&waiting.end);
        pthread_exit(NULL);
    }
    if (strcmp(mode, "jit") == 0) { /* nothing was unloaded: a page of code that is no code */
        return ((int (*)(void))page)();
    }
    if (strcmp(mode, "wild") == 0)
        return ((int (*)(void))wild)();
    return 0;
}
