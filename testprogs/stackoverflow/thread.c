/* The same in a thread: each frame is larger than the guard below its stack, so that SP itself is in
   the guard when the first write goes there. */
#include <pthread.h>
#include <stddef.h>

#define PAGE 4096

int plugin_run(void);

static int descend(volatile long depth)
{
    volatile char room[PAGE];

    room[depth % PAGE] = (char)depth;
    if (depth == 1L << 40)
        return 0;
    return descend(depth + 1) + room[0];
}

static void *work(void *unused)
{
    return descend(0) ? unused : NULL;
}

int plugin_run(void)
{
    pthread_t thread;

    return pthread_create(&thread, NULL, work, NULL) || pthread_join(thread, NULL);
}
