/* One address of each kind that plug-where tells apart, in global variables; two threads. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE 65536

char *anonymous, *file, *gone, *heap, *arena, *stack, *thread_stack;
int data = 42;
static pthread_barrier_t barrier;

static void *work(void *unused)
{
    char here[64];

    (void)unused;
    thread_stack = here;
    arena = malloc(1000);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    char here[64];
    FILE *self = fopen(argv[argc - 1], "r");

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (self == NULL || dlopen("libpltgot.so", RTLD_LAZY) == NULL)
        return 2;
    stack = here;
    heap = malloc(1000);
    anonymous = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    file = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fileno(self), 0);
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, work, NULL);
    pthread_barrier_wait(&barrier);
    gone = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(gone, SIZE);
    printf("loaded\n"); /* break: loaded */
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    return anonymous[0] + file[0] * 0;
}
