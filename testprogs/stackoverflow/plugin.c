/* Recursion without an end (for a depth that no stack has). */
int plugin_run(void);

static int descend(volatile long depth)
{
    volatile char room[512];

    room[0] = (char)depth;
    if (depth == 1L << 40)
        return 0;
    return descend(depth + 1) + room[0]; /* break: descend */
}

int plugin_run(void)
{
    return descend(0);
}
