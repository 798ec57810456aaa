/* Writes to a table of addresses that RELRO has made read-only. */
static const char one[] = "one";
const char *const names[] = { one, one };
int plugin_run(void);

int plugin_run(void)
{
    const char *volatile *entry = (const char *volatile *)&names[1];
    *entry = 0; /* break: crash */
    return 1;
}
