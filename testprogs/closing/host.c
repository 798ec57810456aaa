/* How a dlclose ends: each argument is one thing to do. */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#define THREADS 4
#define CYCLES 5

static const char *const names[THREADS] = { "lib1.so", "lib2.so", "lib3.so", "lib4.so" };

static void close_one(const char *name, void *handle)
{
    int failed = dlclose(handle);
    void *still = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);

    printf("close %s %d %d\n", name, failed, still != NULL);
    if (still)
        dlclose(still);
}

static void alone(void)
{
    close_one("lib1.so", dlopen("lib1.so", RTLD_NOW));
}

static void counted(void)
{
    void *first = dlopen("lib1.so", RTLD_NOW);
    void *second = dlopen("lib1.so", RTLD_NOW);

    close_one("lib1.so", first);
    close_one("lib1.so", second);
}

/* Its destructor closes lib2.so, which goes in a second round of the same dlclose. */
static void nested(void)
{
    close_one("libkeeper.so", dlopen("libkeeper.so", RTLD_NOW));
    close_one("lib1.so", dlopen("lib1.so", RTLD_NOW));
}

static void *work(void *argument)
{
    for (int i = 0; i < CYCLES; i++) {
        dlclose(dlopen(argument, RTLD_NOW));
        dlopen("libbad.so", RTLD_NOW);
    }
    return NULL;
}

static void threads(void)
{
    pthread_t workers[THREADS];

    for (int i = 0; i < THREADS; i++)
        pthread_create(&workers[i], NULL, work, (void *)names[i]);
    for (int i = 0; i < THREADS; i++)
        pthread_join(workers[i], NULL);
    printf("closed\n");
}

static void tick(int number)
{
    (void)number;
}

/* Signals come all the time, also while a debugger steps off a breakpoint. */
static void ticking(void)
{
    struct itimerval each = { { 0, 1000 }, { 0, 1000 } }, never = { { 0, 0 }, { 0, 0 } };

    signal(SIGALRM, tick);
    setitimer(ITIMER_REAL, &each, NULL);
    threads();
    setitimer(ITIMER_REAL, &never, NULL);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "alone"))
            alone();
        else if (!strcmp(argv[i], "counted"))
            counted();
        else if (!strcmp(argv[i], "nested"))
            nested();
        else if (!strcmp(argv[i], "threads"))
            threads();
        else if (!strcmp(argv[i], "ticking"))
            ticking();
    }
    return 0; /* break: end */
}
