/* Calls what is no code: a table of numbers. */
int plugin_run(void);

static unsigned table[64] = {1, 2, 3};

int plugin_run(void)
{
    int (*volatile function)(void) = (int (*)(void))(void *)table;
    return function(); /* break: call */
}
