/* What a host may keep of a plugin beyond its dlclose: a function, a table of functions, a thread. */
#define _GNU_SOURCE
#include <semaphore.h>
#include <sys/syscall.h>
#include <unistd.h>

struct waiting {
    sem_t end;
    volatile int tid;
};

struct operations {
    int (*run)(int);
    int (*stop)(int);
};

int work(int value);
int call_back(void (*callback)(void));
void *wait_here(void *argument);
void handler(void);
void on_signal(int number);
void destructor(void *value);

static int count;

int work(int value)
{
    return value + ++count;
}

static int stop(int value)
{
    return value - count;
}

const struct operations operations = {work, stop};

/* The caller may unload this library before it returns. */
int call_back(void (*callback)(void))
{
    callback();
    return ++count;
}

void *wait_here(void *argument)
{
    struct waiting *waiting = argument;
    waiting->tid = (int)syscall(SYS_gettid);
    while (sem_wait(&waiting->end) != 0)
        ;
    count++;
    return argument;
}

void on_signal(int number)
{
    count += number;
}

void handler(void)
{
    count++;
}

void destructor(void *value)
{
    count += value != 0;
}
