/* Every TLS model at once, in the main thread and three more. libtlsie.so is needed by the program;
   the others are dlopened before the threads start, except libtlsgd.so, which comes after them. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS 3

int touch_ie(void);

typedef int (*function)(void);

static __thread int own = 7;
static pthread_barrier_t ready, opened, touched, done;
static function touch_gd;
static function touch_desc;
static function touch_ld;

static function find(const char *library, const char *name)
{
    void *handle = dlopen(library, RTLD_LAZY);
    function found = handle == NULL ? NULL : (function)dlsym(handle, name);
    if (found == NULL) {
        fprintf(stderr, "host: %s\n", dlerror());
        exit(2);
    }
    return found;
}

static int touch_all(void)
{
    own++;
    return touch_ie() + touch_gd() + touch_desc() + touch_ld() + own;
}

static void *work(void *argument)
{
    pthread_barrier_wait(&ready);
    pthread_barrier_wait(&opened);
    *(int *)argument = touch_all();
    pthread_barrier_wait(&touched);
    pthread_barrier_wait(&done);
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    int sums[THREADS];

    setvbuf(stdout, NULL, _IOLBF, 0);
    pthread_barrier_init(&ready, NULL, THREADS + 1);
    pthread_barrier_init(&opened, NULL, THREADS + 1);
    pthread_barrier_init(&touched, NULL, THREADS + 1);
    pthread_barrier_init(&done, NULL, THREADS + 1);
    touch_desc = find("libtlsdesc.so", "touch_desc");
    touch_ld = find("libtlsld.so", "touch_ld");
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, &sums[i]);
    pthread_barrier_wait(&ready);
    touch_gd = find("libtlsgd.so", "touch_gd");
    pthread_barrier_wait(&opened);
    int mine = touch_all();
    pthread_barrier_wait(&touched);
    printf("loaded\n"); /* break: loaded */
    pthread_barrier_wait(&done);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        printf("%d\n", sums[i]);
    }
    printf("%d\n", mine);
    return 0;
}
